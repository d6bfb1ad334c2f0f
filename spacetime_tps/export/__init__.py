"""Files that people open: trajectories and figures."""
