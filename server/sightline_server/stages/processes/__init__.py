"""Decode processes: what only Pillow decodes runs in short-lived programs of their own, with limits of their own."""
