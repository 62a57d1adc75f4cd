"""F7: photos of real people, of whom no part may be searched (docs/guide/people.md).

The person of a composite counts as found where a box on the whole person, a box on the face and a tap on the face are
all refused. The images are fetched from the package index and kept next to the models.
"""

import asyncio
import subprocess
from collections.abc import Sequence

from load_tests.attacks.frame import Attack, Bound, Skipped, Target, scaled
from sightline.v1 import lens_service_pb2
from sightline_client.convert import request_to_pb
from sightline_client.events import Point
from tests.support.people import Composite, composites, encoded, face_of, image_of
from tests.support.world import Answer, asked, patient_search

COMPOSITES, MAY_BE_MISSED = 20, 0.1
ALONE = ("collins", "photographer")
"""Photos that show a person and nothing that is searched."""
FACES = ("collins", "hopper")


async def run(target: Target, share: float) -> list[Bound]:
    """Searches each person in a room, and photos that show only people or faces."""
    made, alone = await asyncio.to_thread(photos, scaled(COMPOSITES, share))
    async with target.channel() as channel:
        answers = [await patient_search(channel, on_the_person(each)) for each in made]
        empty = [await patient_search(channel, asked(photo)) for photo in alone]
    found = [answer for answer in answers if all(refused(answer))]
    return [
        Bound(f"people missed, of {len(made)} in rooms", len(made) - len(found), int(MAY_BE_MISSED * len(made))),
        Bound("people found and searched all the same", sum(bool(answer.products) for answer in found), 0),
        Bound(
            f"photos of people and faces alone with objects or without a notice, of {len(alone)}",
            sum(bool(answer.objects) or not noticed(answer) for answer in empty),
            0,
        ),
    ]


def photos(number: int) -> tuple[list[Composite], Sequence[bytes]]:
    """Composites, and photos of people and faces alone. Raises `Skipped` when the images cannot be fetched."""
    try:
        alone = [*(encoded(image_of(name)) for name in ALONE), *(face_of(name) for name in FACES)]
        return list(composites(number)), alone
    except subprocess.CalledProcessError as error:
        raise Skipped("the images of people cannot be fetched from the package index") from error


def on_the_person(made: Composite) -> lens_service_pb2.SearchRequest:
    """A box on the person, a box on the face and a tap on the face."""
    face = made.face
    tap = Point((face.x_min + face.x_max) / 2, (face.y_min + face.y_max) / 2)
    return request_to_pb(made.photo, regions=[made.person, face, tap])


def refused(answer: Answer) -> list[bool]:
    """By object, whether it was refused as a person."""
    reasons = [
        answer.failures[each.object_id].reason if each.object_id in answer.failures else 0 for each in answer.objects
    ]
    return [reason == lens_service_pb2.FAILURE_REASON_PERSON for reason in reasons]


def noticed(answer: Answer) -> bool:
    """Returns whether the answer says that the photo shows people only."""
    return bool(answer.done.notice == lens_service_pb2.NOTICE_PERSON_ONLY)


ATTACK = Attack("people", "F7: people in photos", run)
