"""How many dies of a wafer are good, and what a good one costs."""
