"""Denoisers: posterior targets, networks, training, and exact references."""
