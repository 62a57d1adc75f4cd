"""The parameters of a `config.pbtxt` that say what a model is.

Place in the flow: text of a configuration -> the same text for another model. The one rule: only the parameters that
belong to the model are replaced; everything else, comments included, stays as the operator wrote it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from sightline_models.defaults import DefaultModel

_STRING = r'(?:"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\')'
_PARAMETER = re.compile(
    r'^[ \t]*parameters\s*:?\s*\{\s*key\s*:\s*"(?P<key>[^"\n]*)"\s*[,;]?\s*'
    rf"value\s*:?\s*\{{\s*string_value\s*:\s*(?:{_STRING}\s*)+[,;]?\s*\}}\s*[,;]?\s*\}}[ \t]*[,;]?[ \t]*(?:\n|\Z)",
    re.MULTILINE,
)
_OF_A_FILE = frozenset({"name", "preprocess", "labels", "vocabulary", "search", "sha256"})
"""Parameters that belong to one model."""


def parameters_of(model: DefaultModel) -> dict[str, str]:
    """The values of a model's parameters, as Triton holds them."""
    facts: dict[str, object] = {
        "preprocess": model.preprocess,
        "labels": model.labels,
        "vocabulary": model.vocabulary,
        "search": model.search,
    }
    return {"name": model.name} | {key: json.dumps(value) for key, value in facts.items() if value}


def configure(text: str, model: DefaultModel) -> str:
    """The configuration of another model of the same role with the parameters of `model`; see `with_parameters`."""
    return with_parameters(text, parameters_of(model))


def with_parameters(text: str, parameters: Mapping[str, str]) -> str:
    """The configuration of another model of the same role with these parameters of a model.

    They are put where the first of the old ones was. One that is written in another form than this package writes stays
    and has no effect, since Triton takes the last value of a key and the new ones come at the end then.
    """
    lines = parameter_lines(parameters)
    old = [match for match in _PARAMETER.finditer(text) if match["key"] in _OF_A_FILE]
    for match in reversed(old):
        text = text[: match.start()] + text[match.end() :]
    if not old or re.search(rf'key\s*:\s*["\'](?:{"|".join(sorted(_OF_A_FILE))})["\']', text):
        return f"{text.rstrip()}\n\n{lines}"
    start = old[0].start()
    return text[:start] + lines + text[start:]


def parameter_lines(parameters: Mapping[str, str]) -> str:
    """The parameters as a configuration has them, each on a line."""
    return "".join(
        f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(value)} }} }}\n'
        for key, value in parameters.items()
    )
