"""The cheapest pathway to net zero under yearly budgets."""
