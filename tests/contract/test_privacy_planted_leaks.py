"""Planted leaks: a mutation of a served front each, which `sightline privacy verify` must find.

Each says which promises it breaks. The same server without a leak keeps all promises: test_privacy_verify.py.
"""

import io
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from PIL import Image
from prometheus_client import Counter

from sightline_privacy.promises import Promise
from sightline_server.access.audit_log import file_audit, records
from sightline_server.access.grants import claims, refusals
from sightline_server.access.grants.consent import Consent, ConsentMode
from sightline_server.access.grants.process_store import ProcessStore
from sightline_server.domain.events import Detected
from sightline_server.domain.items import ReasonKind
from sightline_server.domain.request import CropsQuery, EmbeddingsQuery, SearchQuery
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.pipeline import Pipeline
from sightline_server.rpc.consent import ConsentStep
from sightline_server.rpc.edge import Edge
from sightline_server.rpc.lens import convert
from sightline_server.search import find, look
from sightline_server.search.object_embedder import ObjectEmbedder
from sightline_server.stages import rank as ranking
from tests.support.pictures import encode
from tests.support.verified import Subject, broken_in, under_verification

log = logging.getLogger("sightline_server.planted")
Patch = pytest.MonkeyPatch
PERSON_PHOTO = encode(Image.new("RGB", (160, 160), (120, 120, 120)), "PNG")
AT_REST = {Promise.RETENTION, Promise.ERASURE}


@dataclass(frozen=True)
class Leak:
    """A mutation, and the promises that it breaks."""

    plant: Callable[[Patch, Subject], None]
    breaks: set[Promise]
    mode: str = "required"
    changes: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def each_search(patch: Patch, leak: Callable[[Any, Any], None]) -> None:
    """Calls `leak` with the query and each event of every search of a photo."""
    run = Pipeline.run

    async def leaking(self: Pipeline, query: Any, catalog: Any) -> AsyncGenerator[Any, None]:
        async for event in run(self, query, catalog):
            if isinstance(query, SearchQuery):
                leak(query, event)
            yield event

    patch.setattr(Pipeline, "run", leaking)


def objects_of(event: Any) -> Sequence[Any]:
    return event.objects if isinstance(event, Detected) else ()


def logged(tell: Callable[[Any, Any], str]) -> Callable[[Patch, Subject], None]:
    """A line of the log for each event about which `tell` has something to say."""

    def leak(query: Any, event: Any) -> None:
        if text := tell(query, event):
            log.warning("%s", text)

    return lambda patch, subject: each_search(patch, leak)


def boxes(query: Any, event: Any) -> str:
    return " ".join(str(item.box) for item in objects_of(event))


def pixel_boxes(query: Any, event: Any) -> str:
    with Image.open(io.BytesIO(query.photo)) as image:
        width, height = image.size
    found = [item.box for item in objects_of(event)]
    return " ".join(
        f"[{round(box.x_min * width)}, {round(box.y_min * height)}, {round(box.x_max * width)}, "
        f"{round(box.y_max * height)}]"
        for box in found
    )


def exif_of(query: Any, event: Any) -> str:
    with Image.open(io.BytesIO(query.photo)) as image:
        return f"exif: {dict(image.getexif())}" if objects_of(event) else ""


def gps_of(query: Any, event: Any) -> str:
    with Image.open(io.BytesIO(query.photo)) as image:
        gps = image.getexif().get_ifd(0x8825)
    if not (gps and objects_of(event)):
        return ""
    latitude = [float(each) for each in gps[2]]
    return f"taken at latitude {latitude[0] + latitude[1] / 60 + latitude[2] / 3600:.5f}"


def size_of(query: Any, event: Any) -> str:
    with Image.open(io.BytesIO(query.photo)) as image:
        return f"photo of {image.width}x{image.height}" if objects_of(event) else ""


def hash_of(query: Any, event: Any) -> str:
    import hashlib

    return f"photo {hashlib.sha256(query.photo).hexdigest()}" if objects_of(event) else ""


def label_of(query: Any, event: Any) -> str:
    return " ".join(f"label={item.label}" for item in objects_of(event))


def as_base64(query: Any, event: Any) -> str:
    import base64

    return base64.b64encode(query.photo).decode() if objects_of(event) else ""


def embedding_of_an_app_in_the_log(patch: Patch, subject: Subject) -> None:
    run = Pipeline.run

    async def leaking(self: Pipeline, query: Any, catalog: Any) -> AsyncGenerator[Any, None]:
        if isinstance(query, EmbeddingsQuery):
            log.warning("searching %s", [each.tolist() for each in query.embeddings()])
        async for event in run(self, query, catalog):
            yield event

    patch.setattr(Pipeline, "run", leaking)


def crops_in_a_file(patch: Patch, subject: Subject) -> None:
    images = CropsQuery.images

    def leaking(self: CropsQuery) -> Any:
        with (subject.folder / "crops").open("ab") as file:
            file.write(self.crops[0])
        return images(self)

    patch.setattr(CropsQuery, "images", leaking)


def photo_in_a_file(patch: Patch, subject: Subject) -> None:
    each_search(patch, lambda query, event: note((subject.folder / "last.jpg").write_bytes(query.photo)))


def thumbnail_in_a_file(patch: Patch, subject: Subject) -> None:
    def leak(query: Any, event: Any) -> None:
        with Image.open(io.BytesIO(query.photo)) as image:
            image.convert("RGB").resize((120, 90)).save(subject.folder / "thumbnail.webp")

    each_search(patch, leak)


def embedding_in_a_file(patch: Patch, subject: Subject) -> None:
    embed = ObjectEmbedder.embed

    async def leaking(self: ObjectEmbedder, *arguments: Any) -> Any:
        embedded = await embed(self, *arguments)
        np.save(subject.folder / "cache.npy", np.stack([each.embedding for each in embedded]))
        return embedded

    patch.setattr(ObjectEmbedder, "embed", leaking)


def pixels_in_a_file(patch: Patch, subject: Subject) -> None:
    decode = look.Look.decode

    async def leaking(self: Any, *arguments: Any) -> Any:
        photo = await decode(self, *arguments)
        (subject.folder / "frame.raw").write_bytes(photo.frame.pixels.tobytes())
        return photo

    patch.setattr(look.Look, "decode", leaking)


def label_in_a_span(patch: Patch, subject: Subject) -> None:
    def leak(query: Any, event: Any) -> None:
        for item in objects_of(event):
            trace.get_current_span().set_attribute("object", item.label)

    each_search(patch, leak)


def size_in_a_metric(patch: Patch, subject: Subject) -> None:
    sizes = Counter("planted", "By size.", ["width", "height"], registry=subject.served.metrics.registry)

    def leak(query: Any, event: Any) -> None:
        with Image.open(io.BytesIO(query.photo)) as image:
            sizes.labels(*map(str, image.size)).inc()

    each_search(patch, leak)


def box_in_an_error(patch: Patch, subject: Subject) -> None:
    to_region = convert.to_region

    def leaking(region: Any, place: int) -> Any:
        try:
            return to_region(region, place)
        except SightlineError as error:
            box = region.box
            text = f"no box: {box.x_min} {box.y_min} {box.x_max} {box.y_max}"
            raise SightlineError(ErrorKind.INVALID_REQUEST, text) from error

    patch.setattr(convert, "to_region", leaking)


def request_in_an_error(patch: Patch, subject: Subject) -> None:
    authorised = ConsentStep.authorised

    def leaking(self: ConsentStep, caller: Any, announced: Any, target: Any, grant: str) -> Any:
        try:
            return authorised(self, caller, announced, target, grant)
        except SightlineError as error:
            raise SightlineError(ErrorKind.UNKNOWN_CATALOG, f"there is no {target.catalog}") from error

    patch.setattr(ConsentStep, "authorised", leaking)


def answer_by_principal(patch: Patch, subject: Subject) -> None:
    answer = Edge._answer

    async def leaking(self: Edge, taken: Any, call: Any, caller: Any, quota: Any, checked: Any) -> None:
        if caller.principal.name == "other":
            checked = replace(checked, query=replace(checked.query, max_products=2))
        await answer(self, taken, call, caller, quota, checked)

    patch.setattr(Edge, "_answer", leaking)


def boosted(kind: ReasonKind) -> Callable[[Patch, Subject], None]:
    """A product gets more for a reason than others do."""

    def plant(patch: Patch, subject: Subject) -> None:
        contributions = ranking.Scoring.contributions

        def leaking(self: ranking.Scoring, found: Any) -> Any:
            more = [(kind, 0.2)] if found.product_id == "p3" else []
            return [*contributions(self, found), *more]

        patch.setattr(ranking.Scoring, "contributions", leaking)

    return plant


def moved_without_a_reason(patch: Patch, subject: Subject) -> None:
    rank = ranking.rank

    def leaking(*arguments: Any, **options: Any) -> Any:
        first, *rest = rank(*arguments, **options)
        return (replace(rest[-1], rank=1), *(replace(each, rank=n) for n, each in enumerate([first, *rest[:-1]], 2)))

    patch.setattr(find, "rank", leaking)


def size_in_the_audit(patch: Patch, subject: Subject) -> None:
    decision = records.decision

    def leaking(record: Any, seconds: float) -> Any:
        return {**decision(record, seconds), "label": "chair"}

    patch.setattr(file_audit, "decision", leaking)


def no_record(patch: Patch, subject: Subject) -> None:
    patch.setattr(file_audit.FileAudit, "record", lambda self, record: None)


def grants_work_again(patch: Patch, subject: Subject) -> None:
    async def use(self: ProcessStore, key: bytes) -> bool:
        return True

    patch.setattr(ProcessStore, "use", use)


def any_photo(patch: Patch, subject: Subject) -> None:
    async def use(self: Consent, grant: Any, photo: bytes, principal: str) -> None:
        if not await self._used.use(grant.id.encode()):
            raise refusals.replayed()

    patch.setattr(Consent, "use", use)


def any_purpose(patch: Patch, subject: Subject) -> None:
    patch.setattr(claims, "check_purpose", lambda claims: None)


def unchecked_grants(patch: Patch, subject: Subject) -> None:
    settled = Consent.settled

    def leaking(self: Consent, catalog: str, text: str, grant: Any) -> Any:
        return None if self._demands.of(catalog) is ConsentMode.OFF else settled(self, catalog, text, grant)

    patch.setattr(Consent, "settled", leaking)


def nothing(patch: Patch, subject: Subject) -> None:
    """The leak is a setting."""


def note(written: int) -> None:
    """Takes the result of a function that writes."""


LEAKS: dict[str, Leak] = {
    "a box in the log": Leak(logged(boxes), AT_REST),
    "a box in pixels in the log": Leak(logged(pixel_boxes), AT_REST),
    "EXIF in the log": Leak(logged(exif_of), {Promise.MINIMISATION, Promise.ERASURE}),
    "GPS in the log": Leak(logged(gps_of), {Promise.MINIMISATION, Promise.ERASURE}),
    "the size in the log": Leak(logged(size_of), AT_REST),
    "a hash in the log": Leak(logged(hash_of), AT_REST),
    "a label in the log": Leak(logged(label_of), AT_REST),
    "the photo in the log": Leak(logged(as_base64), AT_REST | {Promise.MINIMISATION}),
    "an embedding of an app in the log": Leak(embedding_of_an_app_in_the_log, AT_REST),
    "a crop of an app in a file": Leak(crops_in_a_file, AT_REST | {Promise.MINIMISATION}),
    "the photo in a file": Leak(photo_in_a_file, AT_REST),
    "a thumbnail in a file": Leak(thumbnail_in_a_file, AT_REST),
    "pixels in a file": Leak(pixels_in_a_file, AT_REST),
    "an embedding in a file": Leak(embedding_in_a_file, AT_REST),
    "a label in a span": Leak(label_in_a_span, AT_REST),
    "the size in a metric": Leak(size_in_a_metric, {Promise.RETENTION}),
    "a box in an error": Leak(box_in_an_error, {Promise.ERRORS}),
    "a catalog's name in an error": Leak(request_in_an_error, {Promise.ERRORS}),
    "an answer by principal": Leak(answer_by_principal, {Promise.NO_PROFILING}),
    "a boost through a reason": Leak(boosted(ReasonKind.CATEGORY_MATCH), {Promise.DISCLOSURE}),
    "a rank without a reason": Leak(moved_without_a_reason, {Promise.DISCLOSURE}),
    "a photo fact in the audit": Leak(size_in_the_audit, {Promise.AUDIT, Promise.ERASURE}),
    "no audit record": Leak(no_record, {Promise.AUDIT}),
    "a grant works twice": Leak(grants_work_again, {Promise.GRANT, Promise.NO_SWEEP}),
    "a grant for another photo": Leak(any_photo, {Promise.GRANT, Promise.NO_SWEEP}),
    "a grant for another purpose": Leak(any_purpose, {Promise.PURPOSE}),
    "a grant that is not checked": Leak(
        unchecked_grants, {Promise.DEFAULTS, Promise.GRANT, Promise.PURPOSE}, mode="off"
    ),
    "people are searched": Leak(
        nothing, {Promise.PEOPLE}, options={"detection": {"person_labels": [], "not_products": []}}
    ),
}


@pytest.mark.parametrize("name", LEAKS)
async def test_a_planted_leak_is_found(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    leak = LEAKS[name]
    async with under_verification(tmp_path, leak.mode, **leak.options) as subject:
        leak.plant(monkeypatch, subject)
        report = await subject.report(person_photo=PERSON_PHOTO, **leak.changes)
    text = "\n".join(report.lines())
    assert leak.breaks <= broken_in(report), text
    # A thumbnail of a photo has no piece of its EXIF, a photo has: what else is broken depends on the leak.
    assert broken_in(report) - leak.breaks <= {Promise.MINIMISATION, Promise.RETENTION, Promise.ERASURE}, text


def test_every_promise_is_broken_by_a_leak() -> None:
    assert set().union(*(leak.breaks for leak in LEAKS.values())) == set(Promise)
    assert len(LEAKS) >= 12
