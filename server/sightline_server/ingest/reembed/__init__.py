"""Embeds the images of a catalog again, by another embedder.

catalog -> images: kept originals, else their links -> embedder -> cache -> a revision of a new generation
"""
