"""The callers: photos, arrivals, tasks, and the separate process that sends the calls."""
