"""An adapter and what was measured of it, for a reader.

Rule: nothing is decided here.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sightline_server.domain.verdict import FittedVerdict
    from sightline_server.domain.weights import FittedWeights
    from sightline_server.index.adaptation import Adaptation


def described(facts: Mapping[str, Any]) -> str:
    """One line about a stored adapter, from its own facts."""
    return f"{facts.get('method', '?')}, fitted from {facts.get('photos', '?')} photos on {facts.get('fitted_at', '?')}"


def described_weights(fitted: "FittedWeights") -> str:
    """One line about stored weights."""
    weights, facts = fitted.weights, fitted.facts
    return (
        f"{weights.identity}, local features {weights.local_features:g}, colours {weights.colours:g}, fitted from "
        f"{facts.get('photos', '?')} photos on {facts.get('fitted_at', '?')}"
    )


def described_verdict(fitted: "FittedVerdict") -> str:
    """One line about a stored verdict."""
    facts = fitted.facts
    return (
        f"same item for {facts.get('said', 0):.0%} of photos, right in {facts.get('right', 0):.0%}, fitted from "
        f"{facts.get('photos', '?')} photos on {facts.get('fitted_at', '?')}"
    )


def content_of(kept: "Adaptation") -> str:
    """The parts that are kept, in a few words."""
    parts = [] if kept.adapter is None else [str(kept.adapter.facts["method"])]
    parts += ["weights"] * (kept.weights is not None) + ["verdict"] * (kept.verdict is not None)
    return ", ".join(parts)


def gain_note(kept: "Adaptation") -> str:
    """The note of the revision of what was fitted."""
    parts = [] if kept.adapter is None else [adapter_note(kept.adapter.facts)]
    if kept.weights is not None:
        facts = kept.weights.facts
        rates = facts["hit@1"]
        gain = f"hit@1 {rates['before']:.3f} -> {rates['after']:.3f} on products that they had not seen"
        parts.append(f"weights from {facts['photos']} photos, {gain}")
    if kept.verdict is not None:
        parts.append(f"verdict right in {kept.verdict.facts['right']:.0%} of held-out cases")
    return "; ".join(parts)


def adapter_note(facts: Mapping[str, Any]) -> str:
    """The part of the note about an adapter."""
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


def weighing_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The measurements of weights."""
    rates = facts["hit@1"]
    kept = "a real gain" if facts["kept"] else "no real gain"
    yield (
        f"{'weights':<10} hit@1 {rates['before']:.3f} -> {rates['after']:.3f} of {facts['measured']} photos, of "
        f"products that they were not fitted from: {kept}"
    )
    changes = (
        f"{name.replace('_', ' ')} {each['before']:g} -> {each['after']:g}" for name, each in facts["weights"].items()
    )
    yield f"{'':<10} {', '.join(changes)}"


def judging_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The measurements of a verdict."""
    kept = "kept" if facts["kept"] else "not kept"
    yield (
        f"{'verdict':<10} same item for {facts['said']:.0%} of photos, right in {facts['right']:.0%}, and for "
        f"{facts['said_hidden']:.0%} of photos of items that are not there; "
        f"calibration error {facts['ece']:.3f}: {kept}"
    )


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
