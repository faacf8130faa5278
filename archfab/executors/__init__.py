"""One file per way to run trials."""
