"""Printed text of images: found, read and compared."""
