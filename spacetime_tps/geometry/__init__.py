"""Spacetime geometry: curves, constraints, geodesics, channels."""
