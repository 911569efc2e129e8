"""A Markdown paper, read: spans in backticks, links, headings, tables, fenced commands, each with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

_FENCE = re.compile(r"^```.*?^```[^\n]*$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(?P<text>.+?)\s*$", re.MULTILINE)
_CELLS = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Span:
    """What stands between backticks, line breaks as spaces. `start` and `end` are offsets of the whole mark."""

    text: str
    line: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Link:
    text: str
    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table, and the heading that it stands under."""

    cells: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Table:
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    under: str


class Paper:
    """`path` is relative to the repository's root."""

    def __init__(self, path: str, text: str) -> None:
        self.path = PurePosixPath(path)
        self.text = text
        self.prose = _COMMENT.sub(_blank, _FENCE.sub(_blank, text))

    def line_of(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        found = _SPAN.finditer(self.prose)
        return tuple(
            Span(" ".join(m[2].replace("\\|", "|").split()), self.line_of(m.start()), m.start(), m.end()) for m in found
        )

    @cached_property
    def links(self) -> tuple[Link, ...]:
        return tuple(Link(m["text"], m["target"], self.line_of(m.start())) for m in _LINK.finditer(self.prose))

    @cached_property
    def headings(self) -> tuple[str, ...]:
        return tuple(m["text"] for m in _HEADING.finditer(self.prose))

    @cached_property
    def anchors(self) -> frozenset[str]:
        return frozenset(anchor(heading) for heading in self.headings)

    @cached_property
    def commands(self) -> tuple[str, ...]:
        """Lines of fenced blocks, without what is said about them."""
        blocks = (block.splitlines()[1:-1] for block in _FENCE.findall(self.text))
        return tuple(line.split("  ")[0].split(" #")[0].strip() for block in blocks for line in block if line.strip())

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        return tuple(self._tables())

    def table(self, first: str) -> Table:
        """The one whose first column has that head."""
        [found] = [table for table in self.tables if table.head[0] == first]
        return found

    def _tables(self) -> Iterator[Table]:
        lines, under = self.prose.splitlines(), ""
        at = 0
        while at < len(lines):
            if heading := _HEADING.match(lines[at]):
                under = heading["text"]
            if not lines[at].startswith("|"):
                at += 1
                continue
            start = at
            while at < len(lines) and lines[at].startswith("|"):
                at += 1
            if at - start < 2:
                continue
            head, _, *rows = [_cells(line) for line in lines[start:at]]
            yield Table(head, tuple(Row(row, start + 3 + n) for n, row in enumerate(rows)), under)


def spans_of(cell: str) -> list[str]:
    return [" ".join(m[2].replace("\\|", "|").split()) for m in _SPAN.finditer(cell)]


def anchor(heading: str) -> str:
    """As GitHub makes it: lower case, punctuation gone, dashes for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in _CELLS.split(line.strip().strip("|")))


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])
