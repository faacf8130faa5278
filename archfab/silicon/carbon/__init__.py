"""Greenhouse gases of making a chip, of running it, and of a search itself."""
