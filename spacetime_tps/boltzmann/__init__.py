"""Samplers of the Boltzmann distribution: weighted samples."""
