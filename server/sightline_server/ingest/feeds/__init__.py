"""Reading of product feeds: bytes from a file, a URL or standard input, to records of one product each.

Rule: no row of a feed is lost or mixed with another in silence. Every record is a product's values or a fault with
its row number; a file whose structure cannot be trusted is refused as a whole.
"""
