"""From two structure files to a system file: read, repair, match, survey, decide, write."""
