"""Comparison of a peer's answers with Sightline's: the same objects, the same products in the same order.

Rule: similarities within 1e-4; where two scores are nearer than that to each other, either order is right.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx

from load_tests.peers.peers import Peer
from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc
from sightline_client.target import proxy_option

TOLERANCE = 1e-4
BOX_TOLERANCE = 1e-3
DEADLINE_S = 30.0

Answer = dict[str, Any]
"""As `pipeline.Answer`."""


def ask_sightline(target: str, photos: Sequence[bytes]) -> list[Answer]:
    """Sightline's answers, one photo at a time."""
    with grpc.insecure_channel(target, options=[proxy_option(target)]) as channel:
        stub = lens_service_pb2_grpc.LensServiceStub(channel)
        return [
            to_answer(stub.Search(lens_service_pb2.SearchRequest(photo=photo), timeout=DEADLINE_S)) for photo in photos
        ]


def to_answer(events: Any) -> Answer:
    """A stream of events as a peer would write it. Raises RuntimeError for an object that could not be searched."""
    objects: dict[str, Answer] = {}
    for event in events:
        if event.HasField("failure"):
            raise RuntimeError("an object could not be searched")
        for item in event.detected.objects:
            box = [item.box.x_min, item.box.y_min, item.box.x_max, item.box.y_max]
            objects[item.object_id] = {"object_id": item.object_id, "label": item.label, "box": box}
        if event.HasField("results"):
            objects[event.results.object_id]["products"] = [
                {"id": ranked.product.id, "similarity": ranked.similarity, "score": ranked.score}
                for ranked in event.results.products
            ]
    return {"objects": list(objects.values())}


def ask_peer(peer: Peer, url: str, photos: Sequence[bytes], *, at_once: int) -> list[Answer]:
    """A peer's answers, `at_once` under way, so that they come out of batches. Raises httpx.HTTPError."""

    def one(photo: bytes) -> Answer:
        headers = {"content-type": peer.content_type}
        answer = httpx.post(url, content=peer.body(photo), headers=headers, timeout=DEADLINE_S, trust_env=False)
        found = json.loads(answer.raise_for_status().content)
        first: Answer = found[0] if isinstance(found, list) else found
        return first

    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(one, photos))


def differences(names: Sequence[str], ours: Sequence[Answer], theirs: Sequence[Answer]) -> list[str]:
    """The differences of `theirs` from `ours`, as text; one line a photo at most."""
    found = ((name, difference(*pair)) for name, *pair in zip(names, ours, theirs, strict=True))
    return [f"{name}: {what}" for name, what in found if what]


def difference(ours: Answer, theirs: Answer) -> str:
    """The first difference of two answers; empty when they are the same."""
    kinds = [[(item["object_id"], item["label"]) for item in answer["objects"]] for answer in (ours, theirs)]
    if kinds[0] != kinds[1]:
        return f"objects {kinds[1]} instead of {kinds[0]}"
    for mine, other in zip(ours["objects"], theirs["objects"], strict=True):
        if any(abs(a - b) > BOX_TOLERANCE for a, b in zip(mine["box"], other["box"], strict=True)):
            return f"{mine['object_id']} has another box"
        if what := ranking_difference(mine["products"], other["products"]):
            return f"{mine['object_id']}: {what}"
    return ""


def ranking_difference(ours: Sequence[Answer], theirs: Sequence[Answer]) -> str:
    """The first difference of two rankings; empty when they are the same."""
    if len(ours) != len(theirs):
        return f"{len(theirs)} products instead of {len(ours)}"
    known = {mine["id"]: mine["similarity"] for mine in ours}
    for rank, (mine, other) in enumerate(zip(ours, theirs, strict=True), start=1):
        # Of two that tie for the last rank, one is missing from the other's list.
        tied = abs(mine["score"] - other["score"]) <= TOLERANCE
        cut = abs(other["score"] - ours[-1]["score"]) <= TOLERANCE
        if mine["id"] != other["id"] and not (tied and (other["id"] in known or cut)):
            return f"{other['id']} instead of {mine['id']} at rank {rank}"
        similarity = known.get(other["id"], other["similarity"])
        if abs(similarity - other["similarity"]) > TOLERANCE:
            return f"similarity {other['similarity']} instead of {similarity} for {other['id']}"
    return ""
