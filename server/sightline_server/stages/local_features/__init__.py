"""Local features of images: found, stored as bytes, and compared."""
