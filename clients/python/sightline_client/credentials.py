"""The token of a client: a text, or a function that returns one for each call.

Rule: a token goes into the header of a call and nowhere else: no message, no log line and no `repr` has it.
"""

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from sightline_client import errors

Token: TypeAlias = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""An API key or a bearer token, or a function that returns it; the function may be a coroutine function."""
Metadata: TypeAlias = tuple[tuple[str, str], ...]

HEADER = "authorization"
GRANT_HEADER = "sightline-grant"
LONGEST_GRANT = 4096


def check(token: object) -> None:
    """Raises `ValueError`, which holds nothing of it, unless `token` is a token or a function."""
    if isinstance(token, str):
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("must be printable ASCII characters without spaces, such as an API key")
    elif token is not None and not callable(token):
        raise ValueError(f"must be a str or a function that returns one, not {type(token).__name__}")


async def metadata(token: Token | None, left_s: float = math.inf) -> Metadata:
    """The headers of a call that has `left_s` seconds left; none without a token.

    A function that is not a coroutine function runs in a thread, because it may ask another server. Raises
    `UnauthenticatedError` for a function that fails, and `DeadlineExceededError` for one that takes too long.
    """
    if token is None:
        return ()
    if isinstance(token, str):
        return bearer(token)
    try:
        async with asyncio.timeout(None if left_s == math.inf else max(0.0, left_s)) as limit:
            text = await _asked(token)
    except TimeoutError as error:
        if limit.expired():
            raise errors.DeadlineExceededError("ClientOptions.token returned no token before the deadline") from None
        raise _failed(error) from error
    except Exception as error:
        raise _failed(error) from error
    try:
        if isinstance(text, str):
            check(text)
            return bearer(text)
    except ValueError:
        pass  # the message below is for both
    raise errors.UnauthenticatedError("ClientOptions.token returned no token: expected printable ASCII without spaces")


def read_token(path: Path) -> str:
    """The token in a file, without the blanks around it. Raises `ConfigurationError` that names the file."""
    try:
        token = path.read_text("ascii").strip()
        check(token)
    except OSError as error:
        raise errors.ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except ValueError:
        raise errors.ConfigurationError(f"{path} holds no token: expected one line of printable ASCII") from None
    return token


def bearer(token: str) -> Metadata:
    """The header with `token`."""
    return ((HEADER, f"Bearer {token}"),)


def grant_metadata(grant: str | None) -> Metadata:
    """The header with the grant of a search, which the server can refuse before it reads the photo.

    None without one, and for one that is longer than any grant, which the request has as well.
    """
    return ((GRANT_HEADER, grant),) if grant and len(grant) <= LONGEST_GRANT else ()


async def _asked(token: Callable[[], str] | Callable[[], Awaitable[str]]) -> object:
    text = token() if inspect.iscoroutinefunction(token) else await asyncio.to_thread(token)
    return await text if inspect.isawaitable(text) else text


def _failed(error: Exception) -> errors.UnauthenticatedError:
    return errors.UnauthenticatedError(f"ClientOptions.token raised {type(error).__name__}, so the call was not made")
