"""The tokenizer of a text encoder: `tokenizer.json` next to its ONNX file.

Place in the flow: `models adopt` and `models export` write the file -> a server reads it -> text -> token ids. The one
rule: everything that decides the ids is in the file: lower case, the tokens around a text, padding and length.

The library `tokenizers` is loaded here only, and only for a text encoder. It reads a file or a text and never asks a
hub; nothing here calls its `from_pretrained`, which would.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sightline_models.errors import ModelError

FILE = "tokenizer.json"
"""The name of the file in the folder of the version."""
INSTALL = 'pip install "sightline[text]"'
_PADDING = ("<pad>", "[PAD]", "<|pad|>")
"""Tokens that fill up a text in tokenizers that state none."""


class NoTokensError(ModelError):
    """A text of which nothing, or not everything, has a token. The message has nothing of the text."""


class TextTokenizer:
    """Turns texts into token ids of one length. Safe for several threads."""

    def __init__(self, inner: Any, length: int, pad_id: int) -> None:
        """Use `read` or `prepare`. `length` is that of every row of ids; the ids after a text are `pad_id`."""
        self._inner = inner
        self.length = length
        self.pad_id = pad_id
        # What a caller writes is text, also where it looks like a token such as "<eos>".
        self._inner.encode_special_tokens = True
        _forget_words(self._inner.model)

    @classmethod
    def read(cls, path: Path, length: int) -> Self:
        """The tokenizer in a file, of a model that takes `length` tokens.

        Raises:
            ModelError: no such file, no tokenizer, or one of another length.
        """
        if not path.is_file():
            raise ModelError(f"{path}: missing; it is the tokenizer of the text encoder next to it")
        inner = _parsed(path, path.read_bytes())
        padding = inner.padding or {}
        if padding.get("length") != length or (inner.truncation or {}).get("max_length") != length:
            raise ModelError(
                f"{path}: does not fill up and cut texts to the {length} tokens that the text encoder takes; "
                "let `sightline models adopt` or `sightline models export` write it"
            )
        return cls(inner, length, int(padding["pad_id"]))

    @classmethod
    def prepare(cls, path: Path, content: bytes, length: int, *, lowercase: bool, pad_token: str | None) -> Self:
        """A tokenizer as a training framework wrote it, with the length of a text encoder.

        Args:
            path: names the content in errors.
            length: in tokens, those around a text included.
            lowercase: texts become lower case before anything else.
            pad_token: fills up short texts; None is the one that the tokenizer states, or a usual one.

        Raises:
            ModelError: no tokenizer, or a token that it does not have.
        """
        inner = _parsed(path, content)
        stated = (inner.padding or {}).get("pad_token")
        candidates = [pad_token] if pad_token else [*([stated] if stated else []), *_PADDING]
        token = next((each for each in candidates if inner.token_to_id(each) is not None), None)
        if token is None:
            problem = (
                f"has no token {pad_token!r}" if pad_token else "does not state the token that fills up short texts"
            )
            raise ModelError(f"{path}: {problem}; name it with --pad-token, such as --pad-token '<|endoftext|>'")
        pad_id = int(inner.token_to_id(token))
        inner.enable_truncation(length)
        inner.enable_padding(length=length, pad_id=pad_id, pad_token=token)
        if lowercase:
            from tokenizers import normalizers

            steps = [normalizers.Lowercase(), *([inner.normalizer] if inner.normalizer else [])]
            inner.normalizer = normalizers.Sequence(steps)
        return cls(inner, length, pad_id)

    def encode(self, text: str) -> npt.NDArray[np.int64] | None:
        """The token ids int64 [length] of a text; None for a text that has more tokens.

        Raises:
            NoTokensError: the tokenizer removes all of the text, as it may do with control characters, or fails at it.
        """
        try:
            found = self._inner.encode(text)
        # Plain exceptions of the library, such as for an unknown character where no token stands for one. Their cause
        # is left out, because it may contain a part of the text.
        except Exception:
            raise NoTokensError("the tokenizer has no tokens for a part of the text") from None
        if found.overflowing:
            return None
        if all(found.special_tokens_mask):
            raise NoTokensError("the tokenizer has no tokens for the text")
        return np.array(found.ids, np.int64)

    @property
    def ends_with_padding(self) -> bool:
        """True where the token that ends a text is the one that fills up short texts, as in CLIP's tokenizer."""
        found = self._inner.encode("a")
        own = [token for token, counts in zip(found.ids, found.attention_mask, strict=True) if counts]
        return bool(own) and own[-1] == self.pad_id

    def serialize(self) -> bytes:
        """The content of the file."""
        return str(self._inner.to_str(pretty=False)).encode()


def _forget_words(model: Any) -> None:
    """Switches off the cache of words that some models of the library have: it would keep what callers write."""
    if hasattr(model, "_resize_cache"):
        model._resize_cache(0)


def _parsed(path: Path, content: bytes) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ModelError(f"{path}: the package tokenizers is missing, which reads it; {INSTALL}") from error
    try:
        return Tokenizer.from_str(content.decode("utf-8"))
    # The library raises plain exceptions.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path}: is not a tokenizer.json ({reason})") from error
