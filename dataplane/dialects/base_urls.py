"""Wrong base URLs: what a client's path would be with the right one, and how to say so.

A client appends what it knows (`/v1/messages`, `/chat/completions`) to the base URL that it was given. The commonest
mistake at set-up is a base URL with a part too many, too few or doubled; what arrives still ends in the words of a
route.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from dataplane.core.errors import Code, Refusal

LONGEST: Final = 1024  # of a path that is thought about; of those that name a model, a client's own choice
_SEGMENTS: Final = 16

_PREFIXES: Final = frozenset({"anthropic", "openai", "gemini", "cursor"})
_VERSIONS: Final = frozenset({"v1", "v1beta", "v1alpha"})
# What people leave in front of what their client appends: versions, our prefixes, a whole route.
_LEFT_OVER: Final = (
    _PREFIXES | _VERSIONS | {"api", "chat", "completions", "messages", "responses", "embeddings", "models"}
)
_SLASHES: Final = re.compile(r"/{2,}")


@dataclass(frozen=True, slots=True)
class Meant:
    """The path that the client meant; `base` is what its base URL should end in, "" for an address without a path."""

    path: str
    base: str
    slashes: bool  # nothing but slashes was wrong


def meant(path: str, is_route: Callable[[str], bool], own_version: Callable[[str], bool]) -> Meant | None:
    """Returns the route that `path`, which is none, was meant to be; None when nobody can tell.

    `is_route` knows paths, whatever the method; `own_version` those whose clients append the version themselves.
    """
    if len(path) > LONGEST:
        return None
    plain = _SLASHES.sub("/", path).rstrip("/")
    if plain != path and is_route(plain):
        return Meant(plain, "", slashes=True)
    segments = plain.split("/")[1:]
    if len(segments) > _SEGMENTS:
        return None
    for at in range(len(segments)):
        before, tail = segments[:at], "/" + "/".join(segments[at:])
        if at and segments[at - 1] not in _LEFT_OVER:
            return None
        prefix = next((f"/{word}" for word in before if word in _PREFIXES), "")
        for version in _versions(before):
            if is_route(right := f"{prefix}/{version}{tail}"):
                appends = own_version(right) and bool(_VERSIONS.intersection(before[-1:]))
                return Meant(right, prefix if appends else f"{prefix}/{version}", slashes=False)
    return None


def _versions(before: list[str]) -> Iterator[str]:
    """Yields those that the path has, the last one first, then the usual ones."""
    yield from dict.fromkeys([*(word for word in reversed(before) if word in _VERSIONS), "v1", "v1beta"])


def wrong(path: str, right: Meant) -> Refusal:
    if right.slashes:
        why = "the base URL should not end in a slash, nor the path"
    elif right.base:
        why = f"the base URL should end in {right.base}"
    else:
        why = "the base URL should be this gateway's address without a path"
    return Refusal(
        Code.WRONG_BASE_URL,
        f"no such route: {path[:200]}; {why}, so that the client asks for {right.path[:200]}",
        meta={"route": right.path[:200]},
    )
