"""The calls of a verification: canary photos through success and through each kind of refusal.

Rule: every call that may reach decoding has its own grant where the catalog needs one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sightline.v1 import geometry_pb2
from sightline.v1 import lens_service_pb2 as pb
from sightline_client import credentials
from sightline_client.channels import SEARCH, SEARCH_EMBEDDINGS
from sightline_privacy.calls import Caller, Outcome, UnreachableError
from sightline_privacy.canary import Canary
from sightline_privacy.marks import Marks

Grants = Callable[[bytes | tuple[bytes, ...]], str]
"""Makes a grant for one search of a photo, or of crops; an empty text where no grants are needed."""
UNKNOWN_METHOD = f"{SEARCH}Everything"


@dataclass
class Conversation:
    """The outcomes of the calls, in their order."""

    answers: list[Outcome] = field(default_factory=list)
    """Searches that were to succeed."""
    refusals: list[Outcome] = field(default_factory=list)
    """Calls that were to be refused."""

    @property
    def outcomes(self) -> list[Outcome]:
        """All of them."""
        return [*self.answers, *self.refusals]


def region(box: tuple[float, float, float, float]) -> geometry_pb2.Region:
    """A box of a request."""
    return geometry_pb2.Region(box=geometry_pb2.BoundingBox(x_min=box[0], y_min=box[1], x_max=box[2], y_max=box[3]))


def tap(point: tuple[float, float]) -> geometry_pb2.Region:
    """A tap of a request."""
    return geometry_pb2.Region(tap=geometry_pb2.Point(x=point[0], y=point[1]))


async def converse(caller: Caller, canary: Canary, marks: Marks, catalog: str, grants: Grants) -> Conversation:
    """Makes all calls, and notes in `marks` what the answers say about the photos.

    Raises `UnreachableError` where not even the first search succeeds.
    """
    made = Conversation()
    for name, request in searches(canary, catalog):
        outcome = await caller.search(name, request, grant=grants(request.photo or tuple(request.crops)))
        if not outcome.succeeded:
            raise UnreachableError(
                f"the search of {name} failed, so nothing can be checked: {outcome.code} {outcome.reason}"
            )
        note(marks, outcome)
        made.answers.append(outcome)
    await search_text(caller, canary, marks, catalog, grants, made)
    await search_embedding(caller, canary, marks, catalog, grants, made)
    for name, request in bad_requests(canary, catalog):
        sent = request.photo or tuple(request.crops)
        made.refusals.append(await caller.search(name, request, grant=grants(sent)))
    invented = pb.SearchRequest(photo=canary.png, catalog=catalog)
    made.refusals += [
        await caller.search("an invented grant", invented, grant=canary.invented),
        await caller.call("a method that does not exist", UNKNOWN_METHOD, canary.jpeg),
        await caller.call("no request", SEARCH, canary.jpeg[:4000]),
        await caller.call("no embeddings", SEARCH_EMBEDDINGS, canary.jpeg[:4000]),
        *[
            await caller.call(name, SEARCH_EMBEDDINGS, request.SerializeToString())
            for name, request in bad_embeddings(canary, catalog)
        ],
        await caller.call(
            "invented metadata",
            SEARCH,
            pb.SearchRequest(photo=canary.png).SerializeToString(),
            (("sightline-catalog", canary.invented), ("sightline-lane", canary.invented)),
        ),
    ]
    return made


async def search_text(
    caller: Caller, canary: Canary, marks: Marks, catalog: str, grants: Grants, made: Conversation
) -> None:
    """Searches with a text that only this verification has; a refusal is one where the server takes no texts."""
    request = pb.SearchRequest(photo=canary.png, text=canary.invented, catalog=catalog)
    outcome = await caller.search("a photo with a text", request, grant=grants(canary.png))
    note(marks, outcome)
    (made.answers if outcome.succeeded else made.refusals).append(outcome)


async def search_embedding(
    caller: Caller, canary: Canary, marks: Marks, catalog: str, grants: Grants, made: Conversation
) -> None:
    """Searches an embedding that only this verification has; a refusal is one where the caller may not."""
    info = await caller.info(catalog)
    described = (
        [each for each in info.catalogs if each.name == catalog or (not catalog and each.is_default)] if info else []
    )
    for each in described:
        vector = canary.embedding(each.embedder.dimension).astype("<f4").tobytes()
        request = pb.SearchEmbeddingsRequest(
            embedder=each.embedder.id, vectors=[vector], catalog=catalog, grant=grants((vector,))
        )
        metadata = credentials.grant_metadata(request.grant)
        outcome = await caller.call("an embedding", SEARCH_EMBEDDINGS, request.SerializeToString(), metadata)
        note(marks, outcome)
        (made.answers if outcome.succeeded else made.refusals).append(outcome)


def searches(canary: Canary, catalog: str) -> Iterator[tuple[str, pb.SearchRequest]]:
    """The searches that succeed."""
    yield "a photo with EXIF", pb.SearchRequest(photo=canary.jpeg, catalog=catalog)
    yield "a PNG", pb.SearchRequest(photo=canary.png, catalog=catalog)
    yield "crops", pb.SearchRequest(crops=[canary.jpeg, canary.bare], catalog=catalog)
    regions = [region(canary.box), tap(canary.tap)]
    yield "a second round", pb.SearchRequest(photo=canary.png, catalog=catalog, max_objects=16, look_closer=True)
    yield "regions of a photo", pb.SearchRequest(photo=canary.jpeg, catalog=catalog, regions=regions)


def bad_requests(canary: Canary, catalog: str) -> Iterator[tuple[str, pb.SearchRequest]]:
    """The requests that are refused, each with a part of a canary that the refusal must not repeat."""
    photo, text = canary.jpeg, canary.invented
    yield "half a photo", pb.SearchRequest(photo=photo[: len(photo) // 2], catalog=catalog)
    yield "the head of a photo", pb.SearchRequest(photo=photo[:300], catalog=catalog)
    yield "no image", pb.SearchRequest(photo=photo[3:], catalog=catalog)
    yield "a box inside out", pb.SearchRequest(photo=photo, catalog=catalog, regions=[region(canary.wrong_box)])
    yield "too many products", pb.SearchRequest(photo=photo, catalog=catalog, max_products=2**31 - 1)
    yield "a photo and crops", pb.SearchRequest(photo=photo, crops=[photo[:300]], catalog=catalog)
    yield "half a crop", pb.SearchRequest(crops=[photo, photo[: len(photo) // 2]], catalog=catalog)
    yield "an unknown catalog", pb.SearchRequest(photo=photo, catalog=text)
    long = pb.Filter(brands=[text] * 1001)
    yield "a long filter", pb.SearchRequest(photo=photo, catalog=catalog, filter=long)
    price = pb.Filter(price=pb.PriceRange(currency=text))
    yield "an unknown currency", pb.SearchRequest(photo=photo, catalog=catalog, filter=price)
    yield "a long text", pb.SearchRequest(photo=photo, catalog=catalog, text=text * 100)
    yield "a text with a wrong weight", pb.SearchRequest(photo=photo, catalog=catalog, text=text, text_weight=7)


def bad_embeddings(canary: Canary, catalog: str) -> Iterator[tuple[str, pb.SearchEmbeddingsRequest]]:
    """Searches of embeddings that are refused, also where the caller may not make any."""
    yield (
        "an unknown embedder",
        pb.SearchEmbeddingsRequest(embedder=canary.invented, vectors=[canary.jpeg[:64]], catalog=catalog),
    )
    yield "an unknown catalog of embeddings", pb.SearchEmbeddingsRequest(catalog=canary.invented)


def note(marks: Marks, outcome: Outcome) -> None:
    """Notes what an answer says about its photo."""
    for event in outcome.events:
        kind = event.WhichOneof("event")
        if kind == "detected":
            found = event.detected.objects
            boxes = [(each.box.x_min, each.box.y_min, each.box.x_max, each.box.y_max) for each in found]
            marks.saw(boxes, [each.label for each in found], ())
        elif kind == "results":
            marks.saw((), (), [each.product.id for each in event.results.products])
