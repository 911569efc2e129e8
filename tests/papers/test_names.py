"""One word, one meaning: no two classes of a plane share a name, locals are nouns, and rooms stay small."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache

import pytest

from tests.papers.house import house

HOUSE = house()
PLANES = ("controlplane", "dataplane")
LINES_AT_MOST = 400
LINES_OF = {"dataplane/proxy/exchange.py": 199, "dataplane/proxy/pipeline.py": 199}
PARTICIPLES = frozenset({"said", "told", "known", "found", "given", "made", "heard", "asked", "meant"})
METAPHORS = frozenset({"desk", "bell", "bury", "purse"})
# Elsewhere a letter is one of the alphabet; a dead letter is what everybody calls one.
LETTERS_ARE_MESSAGES = ("controlplane/budgets/", "controlplane/fleet/", "dataplane/link/")
# A framework prescribes the name.
DJANGOS = frozenset({"Command"})
DEAD_LETTER = re.compile(r"dead_?letters?", re.IGNORECASE)


@cache
def product() -> Mapping[str, ast.Module]:
    """Both planes' code, file by file."""
    return {
        file: module.tree
        for file, module in HOUSE.modules.items()
        if file.split("/")[0] in PLANES and "/migrations/" not in file
    }


def shared_classes(trees: Mapping[str, ast.Module]) -> dict[str, list[str]]:
    """The names that stand for more than one public class, and the files of those."""
    homes = defaultdict(list)
    for file, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name not in DJANGOS:
                homes[node.name].append(file)
    return {name: files for name, files in homes.items() if len(files) > 1}


def locals_of(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """What is assigned as a bare name, or is a parameter."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name, node.lineno
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name, node.lineno


def identifiers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                yield name, node.lineno
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, node.lineno
            case ast.ImportFrom(names=names) | ast.Import(names=names):
                for alias in names:
                    yield alias.asname or alias.name, node.lineno


def metaphors_of(file: str) -> frozenset[str]:
    return METAPHORS | {"letter"} if file.startswith(LETTERS_ARE_MESSAGES) else METAPHORS


def words_of(identifier: str) -> set[str]:
    """The words of an identifier, in whatever case it is written, in the singular."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", DEAD_LETTER.sub("", identifier))
    return {part.lower() for part in parts} | {part.lower().removesuffix("s") for part in parts}


@pytest.mark.parametrize("plane", PLANES)
def test_no_two_public_classes_of_a_plane_share_a_name(plane: str) -> None:
    shared = shared_classes({file: tree for file, tree in product().items() if file.startswith(f"{plane}/")})
    assert not shared, "\n" + "\n".join(f"{name}: {', '.join(files)}" for name, files in sorted(shared.items()))


@pytest.mark.parametrize("plane", PLANES)
def test_locals_and_parameters_are_nouns(plane: str) -> None:
    bare = [
        f"{file}:{line}: {name}"
        for file, tree in product().items()
        if file.startswith(f"{plane}/")
        for name, line in locals_of(tree)
        if name in PARTICIPLES
    ]
    assert not bare, f"{len(bare)} times:\n" + "\n".join(bare)


def test_no_metaphor_lies_over_a_word_of_the_house() -> None:
    spoken = sorted(
        {
            f"{file}:{line}: {name}"
            for file, tree in product().items()
            for name, line in identifiers(tree)
            if words_of(name) & metaphors_of(file)
        }
    )
    assert not spoken, f"{len(spoken)} times:\n" + "\n".join(spoken)


def test_no_module_is_longer_than_its_room_allows() -> None:
    long = {
        file: lines
        for file in product()
        if (lines := len(HOUSE.text(file).splitlines())) > LINES_OF.get(file, LINES_AT_MOST)
    }
    assert not long
    assert set(LINES_OF) <= set(product())


def test_what_is_looked_for_is_found() -> None:
    """The looks themselves, on a module that does everything wrong."""
    wrong = ast.parse(
        "class Desk: pass\n"
        "def f(told, *, made):\n"
        "    found = known = (said := 1)\n"
        "    for heard in given: pass\n"
        "    try: pass\n"
        "    except E as meant: pass\n"
        "    self.asked = 1\n"
        "    ring_bells(letterhead=1, letters=2)\n"
        "DeadLetter.dead_letters\n"
    )
    assert {name for name, _ in locals_of(wrong)} & PARTICIPLES == PARTICIPLES - {"given", "asked"}
    link, proxy = metaphors_of("dataplane/link/a.py"), metaphors_of("dataplane/proxy/a.py")
    assert {name for name, _ in identifiers(wrong) if words_of(name) & proxy} == {"Desk", "ring_bells"}
    assert {name for name, _ in identifiers(wrong) if words_of(name) & link} == {"Desk", "ring_bells", "letters"}
    assert shared_classes({"a.py": wrong, "b.py": wrong}) == {"Desk": ["a.py", "b.py"]}
