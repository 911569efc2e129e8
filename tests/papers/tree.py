"""A copy of the tracked files, to follow a recipe in: edited as a contributor would, and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.generate import management_environment
from tests.papers.house import ROOT, house


class Tree:
    """`edited` remembers what was touched, for comparison with what the recipe names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.edited: set[str] = set()
        for name in house().files:
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
        for folder in {(ROOT / name).parent for name in house().files if name.endswith(".py")}:
            if (compiled := folder / "__pycache__").is_dir():  # valid there too: a source has its time and its size
                shutil.copytree(compiled, root / folder.relative_to(ROOT) / "__pycache__", dirs_exist_ok=True)
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)  # tests of the papers list the files by it

    def insert(self, file: str, after: str, new: str) -> None:
        """New lines behind the one line that is, but for blanks around it, `after`."""
        lines = (self.root / file).read_text().splitlines(keepends=True)
        [at] = [n for n, line in enumerate(lines) if line.strip() == after]
        lines.insert(at + 1, new if new.endswith("\n") else new + "\n")
        self.write(file, "".join(lines))

    def replace(self, file: str, old: str, new: str) -> None:
        """Other words in the one place where `old` is."""
        text = (self.root / file).read_text()
        assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
        self.write(file, text.replace(old, new))

    def append(self, file: str, new: str) -> None:
        self.write(file, (self.root / file).read_text() + new)

    def copy(self, file: str, to: str, **changes: str) -> None:
        """A slice like its sibling, with other words in it."""
        text = (self.root / file).read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        self.write(to, text)

    def write(self, file: str, text: str) -> None:
        (self.root / file).parent.mkdir(parents=True, exist_ok=True)
        (self.root / file).write_text(text)
        self.edited.add(file)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Python in the copy, with settings that need nothing."""
        environment = management_environment() | {"PYTHONPATH": str(self.root)}
        environment["AIGATEWAY_VAR_DIR"] = str(self.root / "var")
        kept = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=kept,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def script(self, file: str) -> None:
        """A shell script of the copy, with this Python for its virtual environment."""
        if not (self.root / ".venv").exists():
            (self.root / ".venv").symlink_to(sys.prefix)
        done = subprocess.run([self.root / file], cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def works(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def breaks(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode != 0, f"{' '.join(arguments)} went well"
        return done.stdout + done.stderr

    def tests(self, *arguments: str) -> None:
        environment = dict(os.environ)
        environment.pop("PYTEST_XDIST_WORKER", None)
        self.works("-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)
