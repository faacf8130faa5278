"""A new device from a few measurements, as the command line does it."""
