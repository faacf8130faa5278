"""Models that predict scores from genotypes, for strategies that learn."""
