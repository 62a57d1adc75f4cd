"""Decode processes: what only Pillow decodes runs in separate, short-lived programs with separate limits."""
