"""One file or folder per family."""
