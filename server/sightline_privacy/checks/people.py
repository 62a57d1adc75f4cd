"""People: an object that is a person is never searched, and a photo of a person has no answer but that."""

from sightline.v1 import lens_service_pb2 as pb
from sightline_privacy.calls import Caller, Outcome
from sightline_privacy.conversation import Conversation, Grants, region
from sightline_privacy.promises import Promise
from sightline_privacy.report import Result, broken, judged, not_checked

WORDS = frozenset({"person", "people", "man", "woman", "boy", "girl", "child", "human", "face", "human face"})
MIDDLE = (0.2, 0.2, 0.8, 0.8)


def people_among(outcome: Outcome) -> list[str]:
    """Findings about people among the objects of an answer."""
    return [
        f"the answer to {outcome.name} has a person as an object"
        for item in objects_of(outcome)
        if item.label.strip().lower() in WORDS
    ]


async def not_searched(caller: Caller, made: Conversation, photo: bytes | None, catalog: str, grants: Grants) -> Result:
    """`photo` shows one person who fills most of it, and no product."""
    findings = [finding for outcome in made.answers for finding in people_among(outcome)]
    if findings:
        return broken(Promise.PEOPLE, findings)
    if photo is None:
        return not_checked(Promise.PEOPLE, "give a photo that one person fills: --person-photo")
    whole = await caller.search(
        "the photo of a person", pb.SearchRequest(photo=photo, catalog=catalog), grant=grants(photo)
    )
    part = await caller.search(
        "a box on a person",
        pb.SearchRequest(photo=photo, catalog=catalog, regions=[region(MIDDLE)]),
        grant=grants(photo),
    )
    crop = await caller.search(
        "a crop of a person", pb.SearchRequest(crops=[photo], catalog=catalog), grant=grants((photo,))
    )
    closer = await caller.search(
        "a second round on a person",
        pb.SearchRequest(photo=photo, catalog=catalog, look_closer=True),
        grant=grants(photo),
    )
    for outcome in (whole, part, crop, closer):
        if not outcome.succeeded:
            return not_checked(Promise.PEOPLE, f"the search of {outcome.name} failed: {outcome.code} {outcome.reason}")
    findings = [finding for outcome in (whole, part, crop, closer) for finding in people_among(outcome)]
    sources = {item.source for each in (whole, closer) for event in each.events for item in event.detected.objects}
    if pb.OBJECT_SOURCE_WHOLE_PHOTO in sources:
        findings.append("the photo of a person was searched as a whole")
    if not objects_of(whole) and objects_of(closer):
        findings.append("a second round searched parts of the photo of a person")
    for outcome in (part, crop):
        reasons = [event.failure.reason for event in outcome.events if event.WhichOneof("event") == "failure"]
        if reasons != [pb.FAILURE_REASON_PERSON]:
            findings.append(f"{outcome.name} was searched")
    return judged(
        Promise.PEOPLE, findings, "a photo of a person, a box on it, a crop of it and a second round on it were refused"
    )


def objects_of(outcome: Outcome) -> list[pb.DetectedObject]:
    """The objects of an answer."""
    return [item for event in outcome.events for item in event.detected.objects]
