"""Molecular transition paths from the spacetime geometry of diffusion models (arXiv 2505.17517)."""
