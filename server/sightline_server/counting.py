"""Counted nouns of human-readable messages: "1 product", "2 products"."""


def counted(count: int, noun: str) -> str:
    """`count` and `noun`, in the plural unless it is one; for nouns whose plural ends in -s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
