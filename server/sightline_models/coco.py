"""The eighty classes of COCO, in the order of the detector's outputs.

Place in the flow: label index -> word that a person reads. The one rule: the order is darknet's; the spellings are
those of the COCO data set (darknet's own list abbreviates six of them, such as "tvmonitor").
"""

from collections.abc import Mapping
from typing import Any

# fmt: off
COCO_LABELS: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)
# fmt: on

COCO_VOCABULARY: Mapping[str, Any] = {
    "people": ["person"],
    "not_products": [
        *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
        *("traffic light", "fire hydrant", "stop sign", "parking meter"),
        *("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    ],
    "synonyms": {
        "sofa": "couch",
        "pottedplant": "plant",
        "plants": "plant",
        "diningtable": "table",
        "tvmonitor": "tv",
        "television": "tv",
        "mug": "cup",
        "wineglass": "glass",
        "glasses": "glass",
        "shelves": "shelf",
    },
}
"""Labels that are people, labels of what no shop sells, and words that mean the same to a shop and to COCO."""

DARKNET_NOT_PRODUCTS = ("motorbike", "aeroplane")
"""Darknet's spellings of two labels that name nothing that a shop sells."""
