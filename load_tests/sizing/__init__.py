"""The sizes of a deployment on paper: measured figures, the arithmetic on them, and a check of it by a measured run."""
