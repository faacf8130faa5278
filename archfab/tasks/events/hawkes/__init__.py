"""Hawkes processes: events that excite or inhibit later ones."""
