"""What one network costs on a device, and what lies under the figures: memory plan, loop nests, layouts."""
