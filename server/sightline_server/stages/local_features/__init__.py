"""Local features of images: found and compared."""
