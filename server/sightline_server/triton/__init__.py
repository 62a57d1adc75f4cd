"""Triton: installs, starts, probes and restarts the engine, and runs the models in it.

Rule: nothing outside this package imports `tritonclient` or knows that there are processes; it sees `ports.Engine`.
"""
