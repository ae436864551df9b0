"""One module a model: each turns files of a public package into one of our weight files."""
