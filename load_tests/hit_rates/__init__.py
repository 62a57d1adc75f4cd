"""Hit rates of served photos: their tables, the page and file that record them, and answers that are kept."""
