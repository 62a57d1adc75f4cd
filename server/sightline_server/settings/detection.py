"""The settings of detection and of the people rule."""

from typing import Annotated

from pydantic import Field

from sightline_server.settings.part import Fraction, Part


class DetectionSettings(Part):
    """Rules by which the detector's answers become objects."""

    min_score: Fraction = 0.25
    """Minimum confidence of a detection."""
    nms_iou: Fraction = 0.45
    """Detections of one class that overlap more than this are one object."""
    same_box_iou: Fraction = 0.7
    """Detections of two classes that overlap more than this are one object, named by the better one."""
    min_area: Fraction = 0.001
    """Smallest fraction of the photo that an object may cover."""
    tap_square: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Edge of the square around a tap that no detection covers, as a fraction of the shorter edge."""
    tap_min_score: Fraction = 0.05
    """A tap that no detection of `min_score` covers takes the best detection of at least this confidence that covers it
    and is not mostly on a person; its label is `object`. From `min_score` on there is none."""
    grow_taps: bool = False
    """A tap that no detection covers, not even one of `tap_min_score`, becomes the region of similar colours around it,
    if that may be an object, and else the square. Boxes fit objects better, and the right product comes first less
    often."""
    unsure_min_score: Fraction = 0.0
    """Detections of at least this confidence and less than `min_score` are objects as well where they overlap nothing
    else, after the others and with the label `object`: the detector is not sure of their class. 0 adds none."""
    whole_photo_share: Annotated[float, Field(gt=0, le=1)] | None = None
    """Of an object that is the whole photo only this middle part is embedded, as a fraction of each edge: where callers
    photograph one product, the edges often show its surroundings. 1 embeds all of it, as it is in the catalog. If
    unset, the share that the embedder's configuration states (`search`), else 1."""
    whole_photo_below: Fraction = 0.0
    """The whole photo is searched as well, as the last object, where no detection has at least this confidence. It is
    not where people cover `person_photo_share` of it, nor where a request wants one object. 0 adds it to no photo."""
    not_products: frozenset[str] | None = None
    """Labels that never become objects, in place of those that the detector's configuration states."""
    person_labels: frozenset[str] | None = None
    """Labels that mean a person, in place of those that the detector's configuration states. People are not searched;
    with an empty list, boxes, taps and whole photos that show people are searched like any other."""
    person_min_score: Fraction = 0.25
    """Minimum confidence of a person. A lower value finds more people and refuses more boxes on hands and clothes."""
    person_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """An object of which people cover at least this fraction counts as mostly on a person."""
    person_photo_share: Annotated[float, Field(gt=0, le=1)] = 0.02
    """A photo without products in which people cover at least this fraction is not searched as a whole."""
    most_people_share: Fraction = 1.0
    """Nothing of a photo in which people cover more than this fraction is searched. 1 sets no such limit."""
    redact_people: bool = True
    """People are greyed out before any other step sees the photo: a sofa is searched without the person on
    it. Off, the part of a person that lies in the box of a product is searched with it."""
    person_padding: Fraction = 0.03
    """Fraction of a person's width and height that is greyed out around the person's box as well."""
    second_round_min_time_left_s: Annotated[float, Field(ge=0)] = 1.0
    """Seconds until the deadline that a second round (`look_closer` in a request) leaves for the objects that it finds.
    It is left out where it would not end before them, and `Done.skipped` says so."""
    carried_share: Fraction = 0.5
    """A detected product of at most this fraction of the person's area counts as carried or worn, and is searched."""
    carried_iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A box that overlaps a carried product at least this much counts as a box on that product."""
