"""Hold every part of LISA to numbers recorded from the reference: `lisa-tool eval parity FOLDER`.

A recording is a folder as `recording` describes it. `run` compares it case by case, `summary` makes one
document of all.
"""
