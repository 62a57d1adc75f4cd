"""The text of a code -> the GTIN in it. Pure.

Rule: whatever else the text says is dropped here.
"""

import re

from sightline_server.domain.gtin import to_gtin

DIGITAL_LINK = re.compile(
    r"\A(?:https?://)?[^\s/?#]+(?:/[^\s/?#]+)*?/(?:01|gtin)/([0-9]{8}|[0-9]{12,14})(?=[/?#]|\Z)", re.IGNORECASE
)
"""GS1 Digital Link URI: the GTIN is the value of the key 01, formerly also written `gtin`, in the path."""
ELEMENTS = re.compile(r"\(01\) ?([0-9]{14})(?![0-9])")
"""GS1 element string as people read it: the GTIN is the value of the application identifier 01."""
RAW_ELEMENTS = re.compile(r"\A(?:\](?:Q3|d2|C1)|<GS>|\x1d)?01([0-9]{14})(?=<GS>|\x1d|\Z)")
"""GS1 element string as it is encoded, with a GTIN alone or first."""
BARE = re.compile(r"\A([0-9]{8}|[0-9]{12,14})\Z")
"""The digits alone."""
FORMS = (BARE, ELEMENTS, RAW_ELEMENTS, DIGITAL_LINK)


def gtin_in(text: str) -> int:
    """The GTIN that the text of a code holds; 0 without one, or where its check digit is wrong."""
    stripped = text.strip()
    found = next((match for form in FORMS if (match := form.search(stripped))), None)
    return to_gtin(found[1]) if found else 0
