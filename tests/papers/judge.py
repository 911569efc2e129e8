"""Holds a paper against the house. Returns complaints: where, what was said, what would be right."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import PurePosixPath

from deploy.generate import NOTE
from tests.papers.foreign import is_foreign
from tests.papers.house import House
from tests.papers.paper import Paper, Span, spans_of
from tests.papers.routes import METHODS, pod_answers, web_answers

_PATH = re.compile(r"~?[\w.<>*/-]+")
_SUFFIX = re.compile(r"\.(?:py|pyi|md|toml|json|yaml|yml|sh|proto|txt|html|css|js|png|c|h)$")
_VARIABLE = re.compile(r"([A-Z][A-Z0-9_]*[A-Z0-9])(?:=(\S+))?")
_NAME = re.compile(r"\w+")
_DOTTED = re.compile(r"\w+(?:\.\w+)+")
_CALL = re.compile(r"(?P<name>[\w.]+)\((?P<arguments>.*)\)")
_REQUEST = re.compile(rf"(?:(?P<method>{'|'.join(METHODS)}) )?(?P<path>/\S*)")
_HEADER = re.compile(r"(?P<name>[A-Z][A-Za-z]*(?:-[A-Za-z]+)+-?)(?:: .+)?|(?P<bare>[A-Z][a-z]+): .+")
_FLAG = re.compile(r"--[a-z][a-z-]*")
_JOINED = re.compile(r",? (?:in|of) |,? \(")
_OTHER_PAPER = re.compile(
    r"(?:\(|see )(?P<paper>README|ARCHITECTURE|CONTRIBUTING|SECURITY|CHANGELOG)(?:\.md)?, (?P<section>[\w -]+)"
)


@dataclass(frozen=True, slots=True)
class Complaint:
    paper: str
    line: int
    words: str

    def __str__(self) -> str:
        return f"{self.paper}:{self.line}: {self.words}"


class Judge:
    def __init__(self, house: House, paper: Paper) -> None:
        self.house = house
        self.paper = paper
        self.base = paper.path.parent
        if str(self.base).startswith("deploy/reference"):
            self.base = PurePosixPath()  # made from the declarations of the whole code
        self.is_door = paper.path.name == "__init__.py"
        self.in_tests = str(self.base).startswith("tests")
        self.generated = paper.text.startswith(NOTE)

    def complaints(self) -> list[Complaint]:
        found = [*self._spans(), *self._pairs(), *self._headed_tables(), *self._links(), *self._other_papers()]
        found += self._commands()
        return sorted(found, key=lambda complaint: complaint.line)

    def _complain(self, line: int, words: str) -> Complaint:
        return Complaint(str(self.paper.path), line, words)

    # ---- words in backticks

    def _spans(self) -> Iterator[Complaint]:
        for span in self.paper.spans:
            if not is_foreign(str(self.paper.path), span.text) and (words := self.judge(span.text)):
                yield self._complain(span.line, words)

    def judge(self, text: str) -> str:
        """What is wrong with a word; empty: it names something."""
        if self.generated and re.fullmatch(r"[\d.]+|\w+(?:\+\w+)?://.*", text):
            return ""  # defaults and shapes of values: the table is made from their declaration
        kinds: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
            (re.compile(r"(?:\w+=\S+ )*make (?P<rest>.+)"), self._make),
            (re.compile(r"ARGS=\"(?P<flags>[^\"]*)\""), self._flags),
            (re.compile(r"(?:python -m|manage\.py|uvicorn|celery) .+"), self._program),
            (_REQUEST, self._request),
            (_VARIABLE, self._variable),
            (_HEADER, self._header),
            (re.compile(rf"{_FLAG.pattern}(?:[ =].*)?"), self._flags),
            (re.compile(r"aigateway_\w+"), self._metric),
        )
        for pattern, judged in kinds:
            if found := pattern.fullmatch(text):
                return judged(found)
        if self.base.parts and re.fullmatch(r"[A-Z]|[A-Z]+/[A-Z]+", text):
            return ""  # a place to be filled in
        if _PATH.fullmatch(text) and ("/" in text or _SUFFIX.search(text)):
            return self._path(text)
        if call := _CALL.fullmatch(text):
            return self._call(call["name"], call["arguments"])
        if _DOTTED.fullmatch(text):
            return self._dotted(text)
        words = text.split(", ")
        if all(_NAME.fullmatch(word) for word in words):
            return "; ".join(filter(None, map(self._name, words)))
        if text in self.house.texts_below(self.base) or text in self.house.words or self._is_ignored(text):
            return ""
        if text in self.house.text("deploy/check.sh").replace("/", " ").split():
            return ""
        if len(parts := text.split(" ", 1)) == 2 and self.house.find(parts[0], self.base):
            return self._arguments(parts[0], parts[1])
        if ("*" in text and any(self._globbed(text))) or self._is_shape(text):
            return ""
        return f"`{text}` names nothing that is known; what belongs to others is declared in tests/papers/foreign.py"

    def _is_shape(self, text: str) -> bool:
        """A door plate's example (`{"name": …}`, `GET wait?requests=N`): its words are words of the folder's code."""
        if not self.base.parts or self.generated or (_NAME.fullmatch(text) and len(text) > 1):
            return False
        words = re.findall(r"[a-z][a-z_]{2,}", text)
        return all(word in self._source_below for word in words)

    @cached_property
    def _source_below(self) -> str:
        files = [file for file in self.house.below([str(self.base)]) if re.search(r"\.(?:py|sh|c|h|js|proto)$", file)]
        return "\n".join(map(self.house.text, files))

    def _path(self, text: str) -> str:
        if text.startswith("~/"):
            return "" if text in self.house.recipes else f"`{text}` is in no recipe of controlplane/pages/recipes"
        if self.house.find(text, self.base) or self._is_ignored(text):
            return ""
        if "/" not in text and text in self.house.recipes:
            return ""
        if "/" not in text and self.is_door and self.house.find(text, self.base.parent):
            return ""  # a room's docstring may speak of the others'
        is_path = _SUFFIX.search(text) or text.endswith("/")
        if "/" in text and not is_path and all(self.judge(part) == "" for part in text.split("/")):
            return ""  # two words
        name = text.rstrip("/").rpartition("/")[2]
        near = [file for file in sorted(self.house.files | self.house.folders) if file.rpartition("/")[2] == name]
        return f"`{text}` does not exist{_perhaps(near)}"

    def _is_ignored(self, text: str) -> bool:
        """What commands make in the checkout (`.venv`, `var`): .gitignore has it."""
        ignored = {line.strip("/") for line in self.house.text(".gitignore").split()}
        return text.partition("/")[0] in ignored

    def _name(self, name: str) -> str:
        if name in self.house.names or name in self.house.words or name in self.house.texts_below(self.base):
            return ""
        if self._is_ignored(name):
            return ""
        if self.base.parts and any(self.house.find(f"{name}.{kind}", self.base) for kind in ("py", "txt")):
            return ""  # a module of the folder, or a lock of deploy/locks
        near = get_close_matches(name, sorted(self.house.names), n=2, cutoff=0.8)
        return f"`{name}` is defined nowhere{_perhaps(near)}"

    def _globbed(self, pattern: str) -> Iterator[str]:
        wanted = re.compile(re.escape(pattern).replace(r"\*", r"\w*"))
        yield from (name for name in self.house.names if wanted.fullmatch(name))
        yield from (file for file in self.house.files if wanted.search(file))

    def _dotted(self, text: str) -> str:
        if text in self.house.texts_below(self.base) or text in self.house.words or self.house.find(text, self.base):
            return ""
        for prefix in ("", f"{str(self.base).replace('/', '.')}."):
            module, _, attribute = f"{prefix}{text}".rpartition(".")
            if self.house.is_module(f"{module}.{attribute}"):
                return ""
            if self.house.is_module(module) and self.house.defined_in(attribute, self._places(module)):
                return ""
        owner, _, attribute = text.rpartition(".")
        if any(f"{owner}.{attribute}" in module.defined for module in self.house.modules.values()):
            return ""
        if any(attribute in self.house.modules[f].defined for f in self.house.modules if f.endswith(f"/{owner}.py")):
            return ""
        return f"`{text}` is neither a module nor a name in one{_perhaps(self.house.where(attribute))}"

    def _places(self, module: str) -> list[str]:
        path = module.replace(".", "/")
        return [f"{path}.py"] if f"{path}.py" in self.house.files else [f"{path}/__init__.py"]

    def _call(self, name: str, arguments: str) -> str:
        if words := self._dotted(name) if "." in name else self._name(name):
            return words
        bare = name.rpartition(".")[2]
        homes = [file for file in self.house.where(bare) if file.startswith(str(self.base)) or str(self.base) == "."]
        said = [word.partition("=")[0].strip(" *[]()") for word in arguments.split(",")]
        wanted = {word for word in said if word and word != "…"}
        known: set[str] = set()
        for file in homes or self.house.where(bare):
            module = self.house.modules[file]
            known |= module.parameters.get(bare, set()) | set(module.fields.get(bare, ()))
            if wanted <= known:
                return ""
        loose = {word for word in wanted if word not in known and word not in self.house.names}
        if "[" in arguments and not loose:
            return ""  # the shape of one argument, spelt out
        return f"`{bare}` takes no {', '.join(sorted(wanted - known))}: it has {', '.join(sorted(known)) or 'nothing'}"

    # ---- commands

    def _make(self, found: re.Match[str]) -> str:
        target, *rest = shlex.split(found["rest"])
        if target not in self.house.make_targets:
            return f"there is no `make {target}`{_perhaps(get_close_matches(target, self.house.make_targets))}"
        recipe = self.house.text("Makefile").split(f"\n{target}:")[1].partition("\n\n")[0]
        run = re.search(r"-m ([\w.]+)", recipe)
        return self._flags_in(" ".join(rest), self.house.runnable(run[1]) if run else [], found[0])

    def _flags(self, found: re.Match[str]) -> str:
        """Flags without their command: somewhere below the paper's folder they are understood."""
        base = "" if str(self.base) == "." else f"{self.base}/"
        return self._flags_in(found[0], [file for file in self.house.modules if file.startswith(base)], found[0])

    def _flags_in(self, words: str, files: list[str], said: str) -> str:
        for flag in _FLAG.findall(words):
            if not any(f'"{flag}"' in self.house.text(file) for file in files):
                return f"`{said}`: no {flag} is understood by {', '.join(files[:3]) or 'it'}"
        return ""

    def _program(self, found: re.Match[str]) -> str:
        words = found[0].split()
        if words[0] == "python":
            files = self.house.runnable(words[2])
            if not files:
                return f"`{found[0]}`: there is no module {words[2]} that can be run"
            folder = files[0].rpartition("/")[0]
            siblings = [file for file in self.house.modules if file.rpartition("/")[0] == folder]
            return self._flags_in(" ".join(words[3:]), siblings, found[0])
        if words[0] == "manage.py":
            if words[1] not in self.house.own_commands:
                from django.core.management import get_commands

                return "" if words[1] in get_commands() else f"`{found[0]}`: manage.py has no command {words[1]}"
            return self._arguments(self.house.command_file(words[1]), " ".join(words[2:]))
        target = words[1] if words[0] == "uvicorn" else f"{words[words.index('-A') + 1]}.celery:app"
        module, _, attribute = target.partition(":")
        path = module.replace(".", "/") + ".py"
        if path not in self.house.files or attribute not in self.house.modules[path].defined:
            return f"`{found[0]}`: {path} defines no {attribute}"
        return ""

    def _arguments(self, place: str, words: str) -> str:
        """The words after a program of ours stand in its source."""
        [file, *_] = self.house.find(place, self.base) or [place]
        for word in re.findall(r"[\w-]+", re.sub(r"<[^>]*>|\[[^\]]*\]", "", words)):
            module = self.house.modules.get(file)
            if not (word in module.texts if module else re.search(rf"\b{word}\b", self.house.text(file))):
                return f"`{place} {words}`: {file} knows no {word}"
        return ""

    def _commands(self) -> Iterator[Complaint]:
        known = re.compile(r"(?:\w+=\S+ )*make .+|(?:python -m|manage\.py|uvicorn|celery) .+")
        for command in self.paper.commands:
            if known.fullmatch(command) and (words := self.judge(command)):
                yield self._complain(self.paper.line_of(self.paper.text.index(command)), words)

    # ---- what is said over the wire, and variables

    def _request(self, found: re.Match[str]) -> str:
        method, path = found["method"] or "", found["path"].partition("?")[0]
        if pod_answers(path, method) or web_answers(self.house, path, method) or self._is_simulated(path):
            return ""
        return f"`{found[0]}`: neither a pod nor the control plane has this route; see deploy/reference/routes.md"

    def _is_simulated(self, path: str) -> bool:
        return self.in_tests and path.strip("/").split("/")[0] in ("_sim", "acme", "cursor", "openai")

    def _variable(self, found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        if name in self.house.variables:
            if value is None or f"{name}={value}" in self.house.recipes or f'"{name}": "{value}"' in self.house.recipes:
                return ""
            default = self.house.variables[name]
            exported = re.search(rf"\b{name}\b", self.house.recipes)
            return f"`{found[0]}`: the recipe sets another value" if exported and not default else ""
        return self._name(name)

    def _header(self, found: re.Match[str]) -> str:
        name = (found["name"] or found["bare"]).lower()
        known = any(
            name in self.house.text(file).lower() for file in self.house.modules if not file.startswith("tests/")
        )
        return "" if known else f"`{found[0]}`: no header of that name is read or written"

    def _metric(self, found: re.Match[str]) -> str:
        near = get_close_matches(found[0], self.house.metrics, n=2)
        return "" if found[0] in self.house.metrics else f"`{found[0]}` is no metric{_perhaps(near)}"

    # ---- X in file

    def _pairs(self) -> Iterator[Complaint]:
        """Two neighbours, `Name` in `file`, `Name` (`file`), `file` (`Name`): the file defines the name."""
        for left, right in zip(self.paper.spans, self.paper.spans[1:], strict=False):
            between = " ".join(self.paper.prose[left.end : right.start].split(" "))
            if not _JOINED.fullmatch(re.sub(r"\s+", " ", between)):
                continue
            yield from self._pair(left, right, bracket="(" in between)

    def _pair(self, left: Span, right: Span, *, bracket: bool) -> Iterator[Complaint]:
        for name, place in ((left, right), (right, left)) if bracket else ((left, right),):
            places = self.house.find(place.text, self.base) if _SUFFIX.search(place.text) or "/" in place.text else []
            bare = re.sub(r"\(.*\)$", "", name.text)
            if not places or not (_NAME.fullmatch(bare) or _DOTTED.fullmatch(bare)) or _SUFFIX.search(bare):
                continue
            if is_foreign(str(self.paper.path), name.text) or self._says(bare, places):
                continue
            yield self._complain(
                name.line, f"`{bare}` is not defined in {place.text}{_perhaps(self.house.where(bare))}"
            )

    def _says(self, name: str, places: list[str]) -> bool:
        """The place defines the name, or (a code, a word of the wire) says it; a folder may have it as a part."""
        if self.house.defined_in(name.rpartition(".")[2], places) or any(
            f"{p}/{name}" in self.house.folders for p in places
        ):
            return True
        files = self.house.below(places)
        said = (self.house.modules[file].texts for file in files if file in self.house.modules)
        if name.islower() and any(name in texts for texts in said):
            return True
        return f"Code.{name.upper()}" in "".join(self.house.text(file) for file in files if file.endswith(".py"))

    def _headed_tables(self) -> Iterator[Complaint]:
        """A table below a heading that ends with a file, as in "Verbs (`actions.py`)": the file defines its rows."""
        for table in self.paper.tables:
            named = re.search(r"\(`([^`]+)`\)$", table.under)
            places = self.house.find(named[1], self.base) if named else []
            for row in table.rows if places else ():
                for said in spans_of(row.cells[0]):
                    bare = re.sub(r"\(.*\)$", "", said)
                    if not self.house.defined_in(bare.rpartition(".")[2], places) and "." not in bare:
                        home = _perhaps(self.house.where(bare))
                        yield self._complain(row.line, f"`{bare}` is not defined in {places[0]}{home}")

    # ---- other papers

    def _links(self) -> Iterator[Complaint]:
        for link in self.paper.links:
            target, _, wanted = link.target.partition("#")
            if re.match(r"[a-z]+:", link.target):
                continue
            place = _resolved(self.paper.path.parent, target) if target else str(self.paper.path)
            if place not in self.house.files and place not in self.house.folders:
                yield self._complain(link.line, f"the link to {link.target} leads nowhere")
            elif wanted and wanted not in (anchors := (self.house.paper(place) if target else self.paper).anchors):
                there = ", ".join(sorted(anchors))
                yield self._complain(link.line, f"{place} has no section #{wanted}; it has {there}")

    def _other_papers(self) -> Iterator[Complaint]:
        """A section named in words, as in "see README, clients": a heading of that paper has the words."""
        for found in _OTHER_PAPER.finditer(self.paper.prose):
            headings = [heading.lower() for heading in self.house.paper(f"{found['paper']}.md").headings]
            if not any(found["section"].lower() in heading for heading in headings):
                line = self.paper.line_of(found.start())
                yield self._complain(line, f'{found["paper"]}.md has no section about "{found["section"]}"')


def _resolved(folder: PurePosixPath, target: str) -> str:
    parts: list[str] = []
    for part in (*folder.parts, *PurePosixPath(target).parts):
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _perhaps(near: list[str]) -> str:
    return f"; perhaps {' or '.join(near[:2])}" if near else ""
