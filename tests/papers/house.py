"""What is really there: files, names and where they are defined, commands, variables, routes.

Everything is read from the tracked files, by syntax and not by import, but for the few registries that say themselves
what they hold.
"""

from __future__ import annotations

import ast
import gc
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

from tests.papers.paper import Paper

ROOT = Path(__file__).resolve().parents[2]
_PROTO = re.compile(
    r"\b(?:message|enum|rpc|service)\s+(\w+)|^\s*(?:repeated\s+)?[\w.<>, ]+\s(\w+)\s*=\s*\d+", re.MULTILINE
)


class Module:
    """One Python file: the names that it defines, the parameters of its functions, its texts."""

    def __init__(self, source: str) -> None:
        self.tree = ast.parse(source)
        self.defined: set[str] = set()
        self.parameters: dict[str, set[str]] = {}
        self.fields: dict[str, list[str]] = {}
        self.texts: set[str] = set()
        self.words: set[str] = set()  # texts that members of classes stand for, as in an enum
        for node in ast.walk(self.tree):
            self._see(node)

    def _see(self, node: ast.AST) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.defined.add(node.name)
                arguments = node.args
                names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
                names += [a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None]
                self.parameters.setdefault(node.name, set()).update(names)
            case ast.ClassDef():
                self.defined.add(node.name)
                self.words |= {word for member in node.body for word in _word(member)}
                members = _members(node)
                self.defined |= {f"{node.name}.{member}" for member in members}
                self.fields.setdefault(node.name, []).extend(members)
            case ast.Constant(value=str(text)):
                self.texts.add(text)
        for target in _targets(node):
            self.defined.add(target)


class House:
    """The tracked files below `root`, and what they define."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root

    @cached_property
    def files(self) -> frozenset[str]:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=self.root, capture_output=True, check=True,
        ).stdout.decode().split("\0")  # fmt: skip
        return frozenset(name for name in listed if name and (self.root / name).is_file())

    @cached_property
    def folders(self) -> frozenset[str]:
        return frozenset(
            str(parent) for name in self.files for parent in PurePosixPath(name).parents if str(parent) != "."
        )

    def text(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    @cached_property
    def papers(self) -> tuple[Paper, ...]:
        return tuple(Paper(name, self.text(name)) for name in sorted(self.files) if name.endswith(".md"))

    @cached_property
    def doors(self) -> tuple[Paper, ...]:
        """The docstrings of packages, read as papers."""
        packages = {name: ast.parse(self.text(name)) for name in sorted(self.files) if name.endswith("/__init__.py")}
        return tuple(Paper(name, text) for name, tree in packages.items() if (text := ast.get_docstring(tree)))

    def paper(self, name: str) -> Paper:
        [found] = [paper for paper in (*self.papers, *self.doors) if str(paper.path) == name]
        return found

    # ---- paths

    def find(self, named: str, base: PurePosixPath) -> list[str]:
        """The files and folders that `named` may mean in a paper of the folder `base`: from the root, from there, or a
        bare name anywhere below. `<…>` and `*` stand for any one segment."""
        pattern = re.sub(r"<[^>/]*>", "*", named.removesuffix("/"))
        known = self.folders if named.endswith("/") else self.files | self.folders
        for wanted in (pattern, str(base / pattern)):
            found = [name for name in known if name == wanted or ("*" in wanted and _segments_match(name, wanted))]
            if found:
                return sorted(found)
        if "/" in pattern:
            return []
        below = "" if str(base) == "." else f"{base}/"
        return sorted(
            name for name in known if name.startswith(below) and fnmatchcase(name.rpartition("/")[2], pattern)
        )

    def below(self, places: Iterable[str]) -> list[str]:
        """The files among `places` and inside them."""
        wanted = tuple(places)
        return [name for name in sorted(self.files) if any(name == p or name.startswith(f"{p}/") for p in wanted)]

    # ---- names

    @cached_property
    def modules(self) -> Mapping[str, Module]:
        """Takes seconds: for tests while they run, not while they are collected."""
        with _without_garbage_collector():  # it would look through a million nodes again and again
            return {name: Module(self.text(name)) for name in sorted(self.files) if name.endswith(".py")}

    @cached_property
    def proto_names(self) -> frozenset[str]:
        found = _PROTO.findall("\n".join(self.text(name) for name in self.files if name.endswith(".proto")))
        return frozenset(name for pair in found for name in pair if name) | {"reserved"}

    def defined_in(self, name: str, places: Iterable[str]) -> bool:
        """Whether a file among `places` (or in one of these folders) defines it; imported is not defined."""
        for file in self.below(places):
            if file.endswith(".proto") and name in self.proto_names:
                return True
            if file in self.modules and name in self.modules[file].defined:
                return True
        return False

    def where(self, name: str) -> list[str]:
        """The files that define it, tests last."""
        found = [file for file, module in self.modules.items() if name in module.defined]
        return sorted(found, key=lambda file: (file.startswith("tests/"), file))

    @cached_property
    def names(self) -> frozenset[str]:
        every = {name for module in self.modules.values() for name in module.defined}
        every |= {name for module in self.modules.values() for names in module.parameters.values() for name in names}
        return frozenset(every | self.proto_names | {folder.rpartition("/")[2] for folder in self.folders})

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(word for module in self.modules.values() for word in module.words)

    def texts_below(self, base: PurePosixPath) -> frozenset[str]:
        """Whole strings in the code of a folder: words that it says or understands."""
        return _texts(self, str(base))

    def is_module(self, dotted: str) -> bool:
        path = dotted.replace(".", "/")
        return f"{path}.py" in self.files or path in self.folders

    def runnable(self, dotted: str) -> list[str]:
        """The files of what `python -m` starts; none: there is no such module, or nothing in it to run."""
        path = dotted.replace(".", "/")
        if f"{path}/__main__.py" in self.files:
            return [name for name in self.below([path]) if name.count("/") == path.count("/") + 1]
        if f"{path}.py" in self.files and "__main__" in self.text(f"{path}.py"):
            return [f"{path}.py"]
        return []

    # ---- commands and variables

    @cached_property
    def make_targets(self) -> frozenset[str]:
        return frozenset(re.findall(r"^([a-z][a-z-]*):", self.text("Makefile"), re.MULTILINE))

    @cached_property
    def own_commands(self) -> frozenset[str]:
        """The commands of manage.py that are ours."""
        found = re.findall(r"management/commands/([a-z]\w*)\.py$", "\n".join(self.files), re.MULTILINE)
        return frozenset(found)

    def command_file(self, name: str) -> str:
        [found] = [file for file in self.files if file.endswith(f"management/commands/{name}.py")]
        return found

    @cached_property
    def recipes(self) -> str:
        """Everything that the setup pages hand out."""
        from controlplane.pages.recipes import RECIPES, CliTarget

        setups = [recipe.setup(CliTarget("https://gateway.example")) for recipe in RECIPES]
        parts = [f"{snippet.where}\n{snippet.text}" for setup in setups for snippet in setup.snippets]
        return "\n".join(parts + [note for setup in setups for note in setup.notes])

    @cached_property
    def variables(self) -> Mapping[str, str]:
        """Every environment variable, with its default as the table of settings shows it."""
        found: dict[str, str] = {}
        for table in self.paper("deploy/reference/settings.md").tables:
            found |= {row.cells[0].strip("`"): row.cells[1].strip("`") for row in table.rows}
        for name in re.findall(r"^export (\w+)=|\b([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)\b", self.recipes, re.MULTILINE):
            found.setdefault(name[0] or name[1], "")
        for name in re.findall(r"environ\.get\(\"(\w+)\"|environ\[\"(\w+)\"\]", self._tests_source):
            found.setdefault(name[0] or name[1], "")
        return found

    @cached_property
    def _tests_source(self) -> str:
        return "\n".join(self.text(name) for name in self.files if name.startswith("tests/") and name.endswith(".py"))

    @cached_property
    def metrics(self) -> frozenset[str]:
        tables = self.paper("deploy/reference/metrics.md").tables
        return frozenset(row.cells[0].strip("`") for table in tables for row in table.rows)


def _members(node: ast.ClassDef) -> list[str]:
    methods = [n.name for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    made_with = [
        a.arg for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__" for a in n.args.args
    ]
    return [target for n in node.body for target in _targets(n)] + methods + made_with


def _targets(node: ast.AST) -> list[str]:
    match node:
        case ast.Assign():
            return [target.id for target in node.targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _word(node: ast.AST) -> list[str]:
    match node:
        case (
            ast.Assign(value=ast.Constant(value=str(text)))
            | ast.Assign(value=ast.Tuple(elts=[ast.Constant(value=str(text)), *_]))
        ):
            return [text]
    return []


@contextmanager
def _without_garbage_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _segments_match(name: str, pattern: str) -> bool:
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


@cache
def _texts(house: House, base: str) -> frozenset[str]:
    files = [file for file in house.modules if base == "." or file.startswith(f"{base}/")]
    return frozenset(text for file in files for text in house.modules[file].texts)


@cache
def house() -> House:
    return House()
