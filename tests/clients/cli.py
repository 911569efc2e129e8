"""What the harness needs to know about a coding CLI, and which of them are run when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Nobody listens on the discard port: calls to the outside fail at once. Without a cage for every CLI; in it for those
# whose resolver would wait for seconds.
_NOWHERE = "http://127.0.0.1:9"
_LOCAL = "127.0.0.1,localhost"
PROXIES = {"HTTP_PROXY": _NOWHERE, "HTTPS_PROXY": _NOWHERE, "NO_PROXY": _LOCAL, "no_proxy": _LOCAL}


@dataclass(frozen=True, slots=True)
class HandOut:
    """What an engineer pastes: variables, files under the home directory, command lines."""

    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[list[str]] = ()

    def command(self, *start: str) -> list[str]:
        """The rest of the one command line that begins so."""
        [found] = [words for words in self.commands if tuple(words[: len(start)]) == start]
        return found[len(start) :]


@dataclass(frozen=True, slots=True)
class Case:
    """One way to run a CLI. `dialect` is how its turns arrive; `light` cases install in seconds."""

    version: str
    model: str
    dialect: str
    light: bool = False
    latest: bool = True  # also with the newest published version
    client: str = ""  # the name that the gateway detects where it is not the CLI's


@dataclass(frozen=True, slots=True)
class Cli:
    """One product. `quiet` turns off telemetry and updates for the tests; engineers need not set it.

    `tools`: it offers tools to the model; without them it edits files from text (Aider). `exit_on_error` is its exit
    code after a refusal, None: anything but 0. `before`: commands that sign in, where no file or variable does it.
    `alone`: arguments with which it asks nothing beside its prompt, where it would.
    """

    name: str
    client: str  # the name that the gateway detects
    ecosystem: str
    package: str
    cases: tuple[Case, ...]
    hand_out: Callable[[str, str, Case], HandOut]
    command: Callable[[Path, str, Case, HandOut], list[str]]
    program: str
    quiet: Mapping[str, str] = field(default_factory=dict)
    tools: bool = True
    exit_on_error: int | None = None
    before: Callable[[Path, HandOut], list[list[str]]] | None = None
    alone: Sequence[str] = ()
