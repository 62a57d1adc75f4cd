"""The text encoder of `sightline models adopt`: which options it has, and what is printed.

Rule: the embedder that it belongs to is named, never assumed, because another one gives wrong answers silently.
"""

from collections.abc import Mapping
from pathlib import Path

from sightline_console.terminal import echo
from sightline_models.errors import ModelError
from sightline_server.cli.models_configuration import check_folder


def adopt_text(
    repository: Path,
    file: Path,
    embedder: str | None,
    tokenizer: Path | None,
    length: int | None,
    others: Mapping[str, object],
    *,
    output: str | None,
    lowercase: bool,
    pad_token: str | None,
) -> None:
    """Wraps a text tower and adds it; `others` are options that a text encoder does not have, by name.

    Raises `ModelError` and `SightlineError`.
    """
    # Late, so that the other commands do not load onnx.
    from sightline_models.adopting_text import adopt_text_encoder

    if given := [name for name, value in others.items() if value is not None]:
        raise ModelError(f"a text encoder does not have {', '.join(given)}; leave them out")
    if embedder is None or tokenizer is None or length is None:
        raise ModelError(
            "a text encoder needs --embedder FOLDER, --tokenizer FILE and --length N: the folder of the embedder with "
            "the image tower of the same model, its tokenizer.json, and the number of tokens that it was trained with "
            "(64 for SigLIP2, 77 for CLIP)"
        )
    folder = adopt_text_encoder(
        repository,
        embedder,
        file,
        tokenizer,
        check_folder,
        output=output,
        length=length,
        lowercase=lowercase,
        pad_token=pad_token,
    )
    echo(f"{folder}  added for the catalogs of {embedder}; restart the server")
