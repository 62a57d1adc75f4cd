"""Barcodes and QR codes in a photo: found, read, and joined with the objects of the photo."""
