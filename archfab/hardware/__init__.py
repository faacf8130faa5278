"""What a network costs: the recorded workload, cost models, devices as data."""
