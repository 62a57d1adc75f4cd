"""The detections and the request's regions -> the objects of the photo. Pure.

Rule: every region and every photo gets an answer; people are not searched (`stages/people.py`). A region on a person is
an object that is refused, and a photo of people only has no objects and a notice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sightline_server.domain.events import Notice
from sightline_server.domain.geometry import Box, Point
from sightline_server.domain.image import Frame
from sightline_server.domain.items import Detection, ObjectSource, PhotoObject, Scene, TapBox
from sightline_server.domain.request import Region, SearchQuery
from sightline_server.settings import DetectionSettings
from sightline_server.stages.people import at_tap, on_person, people_share, searchable
from sightline_server.stages.redact import Redaction, redaction
from sightline_server.stages.unsure import unsure_at_tap

NOTHING_SEEN = Scene()


@dataclass(frozen=True, slots=True)
class Choice:
    """The objects in their order, the ids of those that are mostly on a person, and the notice for the caller.

    `hidden` are the parts of the photo that nothing after the choice may see; None where there are none. `scene` is
    what the detector saw.
    """

    objects: tuple[PhotoObject, ...]
    on_person: frozenset[str] = frozenset()
    notice: Notice | None = None
    hidden: Redaction | None = None
    scene: Scene = NOTHING_SEEN


def choose(query: SearchQuery, frame: Frame, scene: Scene, settings: DetectionSettings) -> Choice:
    """One object per region, or else the best products, or else the whole photo unless it shows people.

    Next to products of which the detector is not sure, the whole photo is an object as well where the settings say so.
    """
    choice = objects_of(query, frame, scene, settings)
    if query.crop:
        choice = as_crop(choice, query.crop)
    return replace(choice, hidden=redaction(scene, settings), scene=scene)


def as_crop(choice: Choice, number: int) -> Choice:
    """The choice of crop `number` of a call: its one object, under the id that it has among those of all crops."""
    (item,) = choice.objects
    named = replace(item, object_id=f"o{number}", source=ObjectSource.CROP)
    return Choice((named,), frozenset({named.object_id}) if choice.on_person else frozenset())


def objects_of(query: SearchQuery, frame: Frame, scene: Scene, settings: DetectionSettings) -> Choice:
    """The objects that are searched, those that are refused, and the notice."""
    if people_share(scene) > settings.most_people_share:
        return of_people(query.regions, frame, settings)
    if query.regions:
        return of_regions(query.regions, frame, scene, settings)
    products = searchable(scene, settings)
    if products:
        return Choice(of_products(products, scene, query.max_objects, settings))
    if scene.people and people_share(scene) >= settings.person_photo_share:
        return Choice((), notice=Notice.PERSON_ONLY)
    if scene.unsure:
        return Choice(of_products((), scene, query.max_objects, settings))
    return Choice((PhotoObject("o1", Box.whole(), ObjectSource.WHOLE_PHOTO),))


def of_products(
    products: Sequence[Detection], scene: Scene, most: int, settings: DetectionSettings
) -> tuple[PhotoObject, ...]:
    """The best of `products`, which are searchable, and then what has no class.

    The whole photo is the last object where the detector is sure of no product, and the only one where there is room
    for one object and no product.
    """
    if not products and most == 1:
        return (PhotoObject("o1", Box.whole(), ObjectSource.WHOLE_PHOTO),)
    unsure = not products or (
        products[0].score < settings.whole_photo_below
        and most > 1
        and people_share(scene) < settings.person_photo_share
    )
    objects = [
        PhotoObject(f"o{place}", found.box, ObjectSource.DETECTOR, found.label, found.score)
        for place, found in enumerate((*products, *scene.unsure)[: most - unsure], start=1)
    ]
    whole = [PhotoObject(f"o{len(objects) + 1}", Box.whole(), ObjectSource.WHOLE_PHOTO)] if unsure else []
    return (*objects, *whole)


def of_people(regions: tuple[Region, ...], frame: Frame, settings: DetectionSettings) -> Choice:
    """Nothing of the photo is searched: regions are refused, and without any there is a notice."""
    if not regions:
        return Choice((), notice=Notice.PERSON_ONLY)
    refused = of_regions(regions, frame, Scene(), settings).objects
    return Choice(refused, frozenset(item.object_id for item in refused))


def of_regions(regions: tuple[Region, ...], frame: Frame, scene: Scene, settings: DetectionSettings) -> Choice:
    """One object per region in the order of the regions."""
    objects, refused = [], set()
    for place, region in enumerate(regions, start=1):
        object_id = f"o{place}"
        if isinstance(region, Box):
            item, person = PhotoObject(object_id, region, ObjectSource.BOX), on_person(region, scene, settings)
        else:
            item, person = of_tap(object_id, region, frame, scene, settings)
        objects.append(item)
        if person:
            refused.add(object_id)
    return Choice(tuple(objects), frozenset(refused))


def of_tap(
    object_id: str, tap: Point, frame: Frame, scene: Scene, settings: DetectionSettings
) -> tuple[PhotoObject, bool]:
    """The smallest detection that covers the tap, or else a square around it; and whether that is a person.

    A tap on a person gets the square, so that the answer does not reveal where the person is. What the detector is not
    sure of comes before the square, and never where that is mostly on a person.
    """
    product = at_tap(tap, scene, settings)
    if product is not None:
        return tapped(object_id, product), False
    square = Box.square_around(tap, settings.tap_square, frame.width / frame.height)
    person = any(each.box.covers(tap) for each in scene.people) or on_person(square, scene, settings)
    unsure = None if person else unsure_at_tap(tap, scene)
    if unsure is not None:
        return tapped(object_id, unsure), False
    return PhotoObject(object_id, square, ObjectSource.TAP, tap_box=TapBox.SQUARE), person


def tapped(object_id: str, found: Detection) -> PhotoObject:
    """The object of a tap on a detection."""
    return PhotoObject(object_id, found.box, ObjectSource.TAP, found.label, found.score, TapBox.DETECTION)
