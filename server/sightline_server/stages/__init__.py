"""The steps of one photo, one a file: decode, detect, crop, embed, search, rank. Values in, values out."""
