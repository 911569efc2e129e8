"""The version that runs: a release, and its commit where that can be told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dataplane import VERSION
from dataplane.host.version import CHECKOUT, checked_out, version

COMMIT = "4381ffd1c2d3e4f5061728394a5b6c7d8e9f0a1b"


def repository(folder: Path, head: str = "ref: refs/heads/main\n", **files: str) -> Path:
    git = folder / ".git"
    git.mkdir(parents=True)
    (git / "HEAD").write_text(head)
    for name, text in files.items():
        path = git / name.replace("__", "/").replace("_", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_an_image_says_its_commit(tmp_path):
    assert version("4381ffd1c2d3", repository(tmp_path, refs__heads__main="0" * 40)) == f"{VERSION}+4381ffd1c2d3"


def test_without_a_commit_it_is_the_release(tmp_path):
    assert version("", tmp_path) == VERSION


def test_a_branch_that_is_checked_out_is_followed(tmp_path):
    checkout = repository(tmp_path, refs__heads__main=f"{COMMIT}\n")
    assert checked_out(checkout) == COMMIT
    assert version("", checkout) == f"{VERSION}+4381ffd1c2d3"


def test_a_branch_may_be_packed(tmp_path):
    packed = f"# pack-refs with: peeled\n{'1' * 40} refs/heads/other\n{COMMIT} refs/heads/main\n^{'2' * 40}\n"
    assert checked_out(repository(tmp_path, packed_refs=packed)) == COMMIT


def test_a_commit_may_be_checked_out_itself(tmp_path):
    assert checked_out(repository(tmp_path, head=f"{COMMIT}\n")) == COMMIT


def test_a_worktree_shares_its_branches(tmp_path):
    main = repository(tmp_path / "main", refs__heads__side=COMMIT)
    own = main / ".git" / "worktrees" / "side"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/side\n")
    (own / "commondir").write_text("../..\n")
    side = tmp_path / "side"
    side.mkdir()
    (side / ".git").write_text(f"gitdir: {own}\n")
    assert checked_out(side) == COMMIT


@pytest.mark.parametrize(
    "files",
    [
        {"head": ""},
        {"head": "ref: refs/heads/../../../etc/passwd"},
        {"head": "ref: /etc/passwd"},
        {"head": "nonsense"},
        {"head": "\xff"},
        {},
        {"refs__heads__main": "ref: refs/heads/other"},
        {"refs__heads__main": "0.1\r\nX-Injected: yes"},
        {"packed_refs": "nothing refs/heads/main"},
    ],
)
def test_a_checkout_that_says_nothing_usable_is_none(tmp_path, files):
    assert version("", repository(tmp_path, **files)) == VERSION


def test_it_says_what_git_says():
    if not (CHECKOUT / ".git").exists():
        pytest.skip("not a checkout")
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if said.returncode:
        pytest.skip("git cannot be asked here")
    assert checked_out(CHECKOUT) == said.stdout.strip()
