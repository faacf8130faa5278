"""From a declaration to something that runs."""
