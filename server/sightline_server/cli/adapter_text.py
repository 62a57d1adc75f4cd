"""An adapter and what was measured of it, for a reader.

Rule: nothing is decided here.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def described(facts: Mapping[str, Any]) -> str:
    """One line about a stored adapter, from its own facts."""
    return f"{facts.get('method', '?')}, fitted from {facts.get('photos', '?')} photos on {facts.get('fitted_at', '?')}"


def gain_note(facts: Mapping[str, Any]) -> str:
    """The note of the revision of an adapter."""
    rates = facts.get("hit@1")
    gain = f", hit@1 {rates['before']:.3f} -> {rates['after']:.3f} on held-out photos" if rates else ""
    if facts.get("assumed"):
        gain += " of products that it had not seen"
    return f"adapter {facts['method']} from {facts['photos']} photos{gain}"


def measured_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The measurements of one candidate."""
    method, kept = facts["method"], verdict_of(facts)
    if rates := facts.get("hit@1"):
        yield f"{method:<10} hit@1 {rates['before']:.3f} -> {rates['after']:.3f} of {facts['measured']} photos: {kept}"
    if rates := facts.get("new_products_hit@1"):
        yield f"{'':<10} products that no photo showed: hit@1 {rates['before']:.3f} -> {rates['after']:.3f}"
    if "hit@1" not in facts:
        yield f"{method:<10} {spread_text(facts)}: {kept}"


def verdict_of(facts: Mapping[str, Any]) -> str:
    """The verdict on a candidate; for an assumed gain, why it could not be measured."""
    if facts["kept"] and facts["assumed"]:
        return "no loss; its gain on products that it has seen needs a second photo of them to be measured"
    return "a real gain" if facts["kept"] else "no real gain"


def spread_text(facts: Mapping[str, Any]) -> str:
    """The evenness with which products come first, in both halves of the photos."""
    first, same = facts["first_products"], facts["same_first"]
    products = " and ".join(f"{was} -> {now}" for was, now in zip(first["before"], first["after"], strict=True))
    shared = " and ".join(f"{was:.1%} -> {now:.1%}" for was, now in zip(same["before"], same["after"], strict=True))
    return f"different products first {products}, two photos share theirs {shared}"
