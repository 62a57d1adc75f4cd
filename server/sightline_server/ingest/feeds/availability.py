"""Availability: the spellings of Merchant Center, Meta and schema.org to the four values of the contract."""

import re

# https://support.google.com/merchants/answer/6324448, https://schema.org/ItemAvailability, Meta's catalog fields.
SPELLINGS = {
    "in_stock": (
        *("instock", "available", "availablefororder", "limitedavailability", "limitedstock", "lowstock"),
        *("onlineonly", "instoreonly", "madetoorder", "instocknow", "availablenow"),
    ),
    "out_of_stock": (
        *("outofstock", "soldout", "discontinued", "unavailable", "notavailable", "notinstock", "nostock"),
        *("reserved", "temporarilyoutofstock", "pending"),
    ),
    "preorder": ("preorder", "presale", "preorderable", "availableforpreorder"),
    "backorder": ("backorder", "onbackorder", "backordered", "availableonbackorder", "backorderable"),
}
VALUES = {spelling: value for value, spellings in SPELLINGS.items() for spelling in spellings}
SCHEMA_ORG = re.compile(r"(?:(?:https?:)?//(?:www\.)?schema\.org/+|schema:)(?:ItemAvailability[/#])?", re.IGNORECASE)


def availability_value(text: str) -> str | None:
    """`in_stock`, `out_of_stock`, `preorder` or `backorder`; None where `text` is none of the known spellings."""
    name = SCHEMA_ORG.sub("", text.strip(), count=1)
    return VALUES.get(re.sub(r"[\s_./-]+", "", name).lower())
