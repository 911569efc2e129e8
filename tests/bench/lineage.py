"""The base commit: found in this clone's history and laid out beside it, with today's bench around its product.

Both sides are driven by the same harness, so that only the product differs: `tests/bench` of the base is replaced by
the present one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import BENCH, ROOT, Unavailable, say

BASES = BENCH / "base"
LOCK = Path("deploy/locks/dev.txt")
FETCH_LIMIT_S = 120


class Incomparable(Exception):
    """There is a clone, but the base is not to be had from it or does not run; says what would help."""


@dataclass(frozen=True, slots=True)
class History:
    """What git knows of a directory."""

    root: Path

    def _git(self, *words: str, limit_s: float | None = None) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
        command = ["git", "-C", str(self.root), *words]
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
            stdin=subprocess.DEVNULL,
        )

    @property
    def shallow(self) -> bool:
        return self._git("rev-parse", "--is-shallow-repository").stdout.strip() == "true"

    def find(self, name: str) -> str:
        """The whole id of an ancestor of HEAD. Raises Incomparable, Unavailable."""
        if shutil.which("git") is None or not (self.root / ".git").exists():
            raise Unavailable("this is not a git clone, so there is no earlier commit to compare with")
        head = self._git("rev-parse", "--verify", "HEAD")
        if head.returncode:
            raise Incomparable(f"git does not read this clone: {head.stderr.strip()}")
        commit = self._resolve(name) or self._fetched(name)
        if not commit:
            raise Incomparable(
                f"this clone lacks the base, {name}: `git fetch --unshallow`, or GUARD_BASE=<commit> names another"
            )
        if self.shallow:
            say("a shallow clone: that the base is an ancestor of HEAD could not be checked")
        elif self._git("merge-base", "--is-ancestor", commit, "HEAD").returncode:
            raise Incomparable(f"the base, {name}, is no ancestor of HEAD: name the commit that landed before this one")
        return commit

    def _resolve(self, name: str) -> str:
        return self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").stdout.strip()

    def _fetched(self, name: str) -> str:
        """A shallow clone may lack just this one commit."""
        if not self.shallow:
            return ""
        say(f"fetching {name}, which this shallow clone lacks")
        try:
            self._git("fetch", "--quiet", "--depth=1", "origin", name, limit_s=FETCH_LIMIT_S)
        except subprocess.TimeoutExpired:
            return ""
        return self._resolve(name)

    def lay_out(self, commit: str, bases: Path) -> Path:
        """The commit's tree in a directory of its own, with the present `tests/bench`; older ones go."""
        tree = bases / commit
        if not tree.exists():
            shutil.rmtree(bases, ignore_errors=True)
            raw = bases / f"{commit}.part"
            raw.mkdir(parents=True)
            archive = subprocess.run(
                ["git", "-C", str(self.root), "archive", "--format=tar", commit], capture_output=True, check=True
            )
            subprocess.run(["tar", "-x", "-C", str(raw)], input=archive.stdout, check=True)
            raw.rename(tree)
        bench = Path("tests", "bench")
        shutil.rmtree(tree / bench, ignore_errors=True)
        shutil.copytree(self.root / bench, tree / bench, ignore=shutil.ignore_patterns("__pycache__"))
        return tree


def interpreter(tree: Path, present: Path = ROOT) -> Path:
    """What runs the base: the interpreter that runs this, or, where other packages are locked there, one with those."""
    if (tree / LOCK).read_bytes() == (present / LOCK).read_bytes():
        return Path(sys.executable)
    say("the base has other packages locked: they are installed beside it")
    setup = subprocess.run(
        [str(tree / "deploy" / "setup.sh"), "dev"], cwd=tree, env=os.environ | {"PYTHON": sys.executable}, check=False
    )
    if setup.returncode:
        raise Incomparable("the base's packages could not be installed, so that it cannot be compared with")
    return tree / ".venv" / "bin" / "python"


def compiled(python: Path, tree: Path) -> None:
    """So that no start compiles."""
    parts = [name for name in ("dataplane", "controlplane", "deploy", "protos", "tests") if (tree / name).exists()]
    subprocess.run([str(python), "-m", "compileall", "-q", *parts], cwd=tree, check=False, stdout=subprocess.DEVNULL)
