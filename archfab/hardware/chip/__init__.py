"""The chip that an accelerator is: its size, what is decided of it, and what its silicon costs."""
