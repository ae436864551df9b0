"""A checkpoint on its way to the model: found, downloaded, converted, verified, read.

find (a folder or a name) -> hub -> convert (the one reader of pickles) -> manifest -> weights
"""
