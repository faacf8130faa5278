"""One file per strategy; the file's name is the strategy's."""
