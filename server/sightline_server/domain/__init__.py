"""Pure values of the flow: no I/O, no clock, no library but numpy."""
