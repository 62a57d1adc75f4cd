"""Two servers that are loaded in turn on one machine, and their figures as ratios within a turn."""
