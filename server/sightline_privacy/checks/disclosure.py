"""Disclosure: nothing can be sponsored. Each rank follows from reasons that the answer states.

Rule: a product that is moved for money would have a field for it in the contract, a setting for it, a score that its
reasons do not explain, or a reason that counts differently for it.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FileDescriptor

from sightline.v1 import catalog_service_pb2, catalog_transfer_service_pb2, lens_service_pb2, product_pb2
from sightline.v1 import product_pb2 as products
from sightline_privacy.calls import Outcome
from sightline_privacy.promises import Promise
from sightline_privacy.report import Result, judged

MONEY = re.compile(
    r"(?:^|[_.\s])(?:sponsor|sponsored|promot\w*|boost\w*|paid|payment|bid|bids|ad|ads|advert\w*|campaign\w*|commission"
    r"|margin|revenue|featured|pin|pinned|placement_fee)(?:$|[_.\s])"
)
FILES: tuple[FileDescriptor, ...] = (
    lens_service_pb2.DESCRIPTOR,
    product_pb2.DESCRIPTOR,
    catalog_service_pb2.DESCRIPTOR,
    catalog_transfer_service_pb2.DESCRIPTOR,
)
ROUNDING = 2e-3
LEAST_CODE_SCORE = 1.0
UNIFORM = (products.REASON_KIND_CATEGORY_MATCH, products.REASON_KIND_UNAVAILABLE)
"""Reasons that count the same for each product to which they apply."""
OF_THE_PHOTO = (
    products.REASON_KIND_CODE,
    products.REASON_KIND_LOCAL_FEATURES,
    products.REASON_KIND_COLOUR,
    products.REASON_KIND_PRINTED_TEXT,
)
"""Reasons that count by what the photo shows of each product."""


def names_of(message: Descriptor) -> Iterator[str]:
    """The full names of the fields of a message and of the messages in it."""
    yield from (each.full_name for each in message.fields)
    for nested in message.nested_types:
        yield from names_of(nested)


def names_of_the_contract(files: Iterable[FileDescriptor] = FILES) -> Iterator[str]:
    """Every field and every value of an enum of the contract."""
    for file in files:
        for message in file.message_types_by_name.values():
            yield from names_of(message)
        for enum in file.enum_types_by_name.values():
            yield from (value.name.lower() for value in enum.values)


def names_for_money(names: Iterable[str]) -> list[str]:
    """The names that are about money for a rank."""
    return [name for name in names if MONEY.search(name.rpartition(".")[2].lower())]


def names_of_settings(config: Path) -> list[str]:
    """The keys in a file of settings, comments left out. Raises `OSError`."""
    lines = (line.split("#")[0] for line in config.read_text(errors="replace").splitlines())
    return [match[1] for line in lines if (match := re.match(r"\s*\[?\s*([\w.\"-]+)\s*(?:=|\])", line))]


def unexplained(outcome: Outcome) -> Iterator[str]:
    """Findings about ranks that the reasons of an answer do not explain."""
    uniform: dict[int, set[float]] = {}
    for event in outcome.events:
        ranked = event.results.products if event.WhichOneof("event") == "results" else ()
        scores = [each.score for each in ranked]
        if scores != sorted(scores, reverse=True) or [each.rank for each in ranked] != list(range(1, len(scores) + 1)):
            yield f"the answer to {outcome.name} is not in the order of its scores"
        for each in ranked:
            if abs(sum(reason.contribution for reason in each.reasons) - each.score) > ROUNDING:
                yield f"the answer to {outcome.name} has a score that is not the sum of its reasons"
            for reason in each.reasons:
                if reason.kind == products.REASON_KIND_VISUAL_SIMILARITY:
                    if abs(reason.contribution - each.similarity) > ROUNDING:
                        yield f"the answer to {outcome.name} has a similarity that counts as another number"
                elif reason.kind in UNIFORM:
                    uniform.setdefault(reason.kind, set()).add(round(reason.contribution, 4))
                elif reason.kind not in OF_THE_PHOTO:
                    yield f"the answer to {outcome.name} has a reason that the contract does not know"
    if any(len(amounts) > 1 for amounts in uniform.values()):
        yield f"the answer to {outcome.name} has a reason that counts more for one product than for another"


def nothing_is_sponsored(outcomes: Iterable[Outcome], config: Path | None) -> Result:
    """No name of the contract or of the settings is about money, and each rank is explained."""
    findings = [f"the contract has {name}" for name in names_for_money(names_of_the_contract())]
    if config is not None:
        findings += [f"{config} has the setting {name}" for name in names_for_money(names_of_settings(config))]
    made = list(outcomes)
    findings += [finding for outcome in made for finding in unexplained(outcome)]
    ranked = sum(len(event.results.products) for outcome in made for event in outcome.events)
    told = f"{ranked} ranks are the sum of their reasons, and the contract has no field for money"
    return judged(Promise.DISCLOSURE, findings, told, *(() if config is None else (f"{config} has no such setting",)))
