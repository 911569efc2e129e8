"""A recipe tells how one coding CLI is pointed at the gateway, as text that an engineer pastes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

PLACEHOLDER = "<your virtual key>"

CLAUDE = "claude*"
GPT = "gpt*"
GEMINI = "gemini*"


@dataclass(frozen=True, slots=True)
class CliTarget:
    """Where a CLI goes: the gateway's public address without a path, the key's text, the models that it may use.

    `token` is `PLACEHOLDER` on every page but the one that answers the mint. `models` is empty when all are allowed.
    """

    gateway_url: str
    token: str = PLACEHOLDER
    models: tuple[str, ...] = ()

    def model(self, pattern: str, otherwise: str) -> str:
        """The first named model of a family; of a restricted key its first one; else what this CLI is tested with."""
        named = [model for model in self.models if "*" not in model]
        of_family = [model for model in named if fnmatchcase(model, pattern)]
        return (of_family or named or [otherwise])[0]


@dataclass(frozen=True, slots=True)
class Snippet:
    """One thing to paste: `where` says into what (a shell, a file, a settings page), `text` is copied as it is."""

    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Setup:
    """The finished instructions for one CLI and one key."""

    snippets: tuple[Snippet, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A CLI: `slug` for anchors, `name` for people, `tested` versions, `setup` makes the instructions."""

    slug: str
    name: str
    tested: str
    setup: Callable[[CliTarget], Setup]


def exports(**variables: str) -> str:
    """Lines for a POSIX shell."""
    return "\n".join(f"export {name}={quoted(value)}" for name, value in variables.items())


def quoted(value: str) -> str:
    """`value` as one shell word; the placeholder keeps its angle brackets inside quotes."""
    return shlex.quote(value)


def string(value: str) -> str:
    """`value` as a string literal of JSON, which TOML and YAML read too."""
    return json.dumps(value, ensure_ascii=False)
