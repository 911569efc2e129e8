"""The price library's way of recognising a model's name, as the globs that pods understand.

A clause becomes patterns: some that the name must match, some that it must not. Regular expressions of the library are
few and of three forms: a date at the end (`20*` without a dash behind it, or `20*-*-*`), a digit at the end (ten
patterns), "not a text-to-speech model" (patterns with `!`). Whatever has another form is reported, never guessed.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any, Final


class Unclear(Exception):
    """A clause that globs cannot say."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """One way of being recognised: any of `wanted`, none of `unwanted`."""

    wanted: tuple[str, ...]
    unwanted: tuple[str, ...] = ()

    def match(self) -> tuple[str, ...]:
        """As a price's `match` has it."""
        return (*self.wanted, *(f"!{pattern}" for pattern in self.unwanted))


_FORMS: Final = {
    "ClauseEquals": ("equals", "{}"),
    "ClauseStartsWith": ("starts_with", "{}*"),
    "ClauseEndsWith": ("ends_with", "*{}"),
    "ClauseContains": ("contains", "*{}*"),
}
_NOT_SPEECH: Final = "^(?!.*-[tT][tT][sS](?:$|-))"
_SPEECH: Final = ("*-tts", "*-tts-*")
_PIECE: Final = re.compile(
    r"(?P<compact>\\d\{8\}\$)|(?P<dashed>\\d\{4\}-\\d\{2\}-\\d\{2\}\$)|(?P<digit>\\d$)|\\(?P<escaped>[.\-])|\[(?P<set>[-@_.a-z0-9]+)\]"
    r"|(?P<plain>[-A-Za-z0-9_@/:])"
)
_DASHED_DATE: Final = re.compile(r"-(20\d{2})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?=-|:|\*|$)")


def patterns_of(clause: Any) -> list[Patterns]:
    """The ways in which a name satisfies a clause of the library. Raises Unclear."""
    kind = type(clause).__name__
    if kind == "ClauseOr":
        ways = [way for part in clause.or_ for way in patterns_of(part)]
        plain = tuple(pattern for way in ways if not way.unwanted for pattern in way.wanted)
        return [*([Patterns(_unique(plain))] if plain else []), *(way for way in ways if way.unwanted)]
    if kind == "ClauseAnd":
        return [_both(clause.and_)]
    if kind == "ClauseRegex":
        return [_way_of_regex(clause.regex)]
    attribute, form = _FORMS[kind]
    text = getattr(clause, attribute)
    if "*" in text or text.startswith("!"):
        raise Unclear(f"a name with a wildcard of ours: {text}")
    return [Patterns((form.format(text.lower()),))]


def compact(way: Patterns) -> Patterns | None:
    """The same way with `-2025-12-11` written `-20251211`, as other gateways do. None where there is no date."""
    wanted: list[str] = []
    unwanted = list(way.unwanted)
    for pattern in way.wanted:
        if pattern.endswith("-20*-*-*"):
            wanted.append(pattern.removesuffix("-*-*"))
            unwanted.append(f"{wanted[-1]}-*")
        elif _DASHED_DATE.search(pattern):
            wanted.append(_DASHED_DATE.sub(r"-\1\2\3", pattern))
    return Patterns(_unique(tuple(wanted)), tuple(unwanted)) if wanted else None


def _both(parts: list[Any]) -> Patterns:
    speech = [part for part in parts if getattr(part, "regex", "") == _NOT_SPEECH]
    rest = [part for part in parts if part not in speech]
    if len(rest) != 1 or len(ways := patterns_of(rest[0])) != 1 or ways[0].unwanted:
        raise Unclear("two conditions at once")
    return Patterns(ways[0].wanted, _SPEECH if speech else ())


def _way_of_regex(regex: str) -> Patterns:
    if not regex.startswith("^"):
        raise Unclear(f"an expression that is not anchored: {regex}")
    choices: list[list[str]] = []
    at = 1
    while at < len(regex):
        piece = _PIECE.match(regex, at)
        if piece is None:
            raise Unclear(f"an expression of another form: {regex}")
        if piece["compact"]:
            choices.append(["20*"])
        elif piece["dashed"]:
            choices.append(["20*-*-*"])
        elif piece["digit"]:
            choices.append([f"{digit}*" for digit in range(10)])
        else:
            choices.append(list(piece["set"] or piece["escaped"] or piece["plain"]))
        at = piece.end()
    if not choices[-1][0].endswith("*"):
        raise Unclear(f"an expression with an open end: {regex}")
    wanted = tuple("".join(chosen).lower() for chosen in itertools.product(*choices))
    # A date of eight digits has no dashes: `claude-opus-5-20*` shall not take `claude-opus-5-2026-01-01`.
    return Patterns(wanted, tuple(f"{glob}-*" for glob in wanted) if choices[-1] == ["20*"] else ())


def _unique(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(patterns))
