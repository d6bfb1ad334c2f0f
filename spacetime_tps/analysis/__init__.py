"""What is measured on paths and surfaces."""
