"""Which version runs: the release, and the commit that it was made from where that can be told.

An image says the commit in `AIGATEWAY_COMMIT`. In a git checkout what is checked out is read from git's own files, once
at start: a pod's machine need not have git. Changes that are not committed are not seen.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from dataplane import VERSION

CHECKOUT: Final = Path(__file__).resolve().parents[2]
_SHORT: Final = 12  # of a commit's 40 digits: no project has two alike
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF: Final = re.compile(r"ref: (refs/[\w./-]{1,250})")
_FILE_BYTES: Final = 4 * 1024 * 1024  # of packed references; nothing else here comes near


def version(commit: str, checkout: Path = CHECKOUT) -> str:
    """`0.1.0+4381ffd1c2d3`; without a commit the release alone. `commit` is the setting's, "" for none."""
    build = commit or checked_out(checkout)[:_SHORT]
    return f"{VERSION}+{build}" if build else VERSION


def checked_out(checkout: Path) -> str:
    """The commit that HEAD means, or nothing."""
    try:
        return _head(_git_directory(checkout / ".git"))
    except (OSError, ValueError):  # no checkout, or one that git itself would have to explain
        return ""


def _git_directory(path: Path) -> Path:
    """A worktree has a file there, which names the directory."""
    if path.is_dir():
        return path
    return path.parent / _read(path).removeprefix("gitdir: ")


def _head(git: Path) -> str:
    head = _read(git / "HEAD")
    reference = _REF.fullmatch(head)
    if reference is None:
        return _commit(head)
    name = reference.group(1)
    if ".." in name:
        return ""
    shared = git / _read(git / "commondir") if (git / "commondir").is_file() else git
    for directory in (git, shared):
        if (directory / name).is_file():
            return _commit(_read(directory / name))
    packed = re.search(rf"^(\S+) {re.escape(name)}$", _read(shared / "packed-refs"), re.MULTILINE)
    return _commit(packed.group(1)) if packed else ""


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_FILE_BYTES).decode().strip()


def _commit(text: str) -> str:
    return text if _COMMIT.fullmatch(text) else ""
