"""One file per way to say how good a genotype is."""
