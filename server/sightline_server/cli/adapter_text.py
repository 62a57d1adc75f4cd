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
    if facts.get("assumed") or facts.get("seen") == 0:
        gain += " of products that it had not seen"
    return f"adapter {facts['method']} from {facts['photos']} photos{gain}"


def measured_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The measurements of one candidate."""
    method, kept = facts["method"], verdict_of(facts)
    if "hit@1" not in facts:
        yield f"{method:<10} {spread_text(facts)}: {kept}"
        return
    unseen = "" if facts["seen"] else ", of products that it had not seen"
    yield f"{method:<10} {measures(facts, '')} of {facts['measured']} photos{unseen}: {kept}"
    if facts["seen"]:
        yield f"{'':<10} products that no photo showed: {measures(facts, 'new_products_')}"


def measures(facts: Mapping[str, Any], prefix: str) -> str:
    """hit@1 and nDCG@10, before and after."""
    found = [(name, facts[f"{prefix}{name.lower()}"]) for name in ("hit@1", "nDCG@10")]
    return ", ".join(f"{name} {each['before']:.3f} -> {each['after']:.3f}" for name, each in found)


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
    """The verdict on a candidate, and its grounds."""
    chance = f"chance explains it in {facts['chance']:.1%} of cases" if "chance" in facts else ""
    match facts["grounds"]:
        case "gain":
            return f"a real gain ({chance})"
        case "assumed":
            return (
                "no loss, and centring has a real gain; its own on products that it has seen needs a second photo of "
                "them to be measured"
            )
        case "loss":
            return "not kept, because products that no photo showed lose"
        case "even":
            return "a real gain"
        case _:
            return f"no real gain ({chance})" if chance else "no real gain"


def spread_text(facts: Mapping[str, Any]) -> str:
    """The evenness with which products come first, in both halves of the photos."""
    first, same = facts["first_products"], facts["same_first"]
    products = " and ".join(f"{was} -> {now}" for was, now in zip(first["before"], first["after"], strict=True))
    shared = " and ".join(f"{was:.1%} -> {now:.1%}" for was, now in zip(same["before"], same["after"], strict=True))
    return f"different products first {products}, two photos share theirs {shared}"
