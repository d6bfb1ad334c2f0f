"""Annealed Langevin paths along a geodesic."""
