"""Fetches a published CLI once into `var/clients/<name>-<version>` and finds it there the next time.

Parallel runs wait for each other on a file lock. Three tries, then `CouldNotInstall` with the reason: the caller skips
loudly. Once a registry has failed, what else comes from it is tried once: a run without a network is not hours long.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("AIGATEWAY_TEST_CLIENTS_CACHE", ROOT / "var" / "clients"))
TRIES = 3
INSTALL_SECONDS = 900
# npm's own patience is five minutes for each of three tries, silently.
NPM_PATIENCE = ("--fetch-timeout=60000", "--fetch-retries=1")

_failed: set[str] = set()  # ecosystems


class CouldNotInstall(Exception):
    """The CLI is not to be had on this machine now; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Package:
    """What to fetch: `ecosystem` is "npm" or "pip", `version` a pin or "latest"."""

    ecosystem: str
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Installed:
    """Where an installed CLI lives, and the version that is really there."""

    folder: Path
    version: str
    seconds: float

    def program(self, name: str) -> Path:
        for folder in (self.folder / "node_modules" / ".bin", self.folder / "venv" / "bin"):
            if (folder / name).exists():
                return folder / name
        raise CouldNotInstall(f"{self.folder.name} has no program {name}")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{folder.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], cwd: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CouldNotInstall(f"{command[0]} took more than {INSTALL_SECONDS} s") from None
    if done.returncode:
        tail = " | ".join(line for line in done.stdout.strip().splitlines()[-4:])
        raise CouldNotInstall(f"{Path(command[0]).name} ended with {done.returncode}: {tail[-400:]}")


def _python_for_pip() -> str:
    """An interpreter that old pins still support (3.10 to 3.12): this one when it fits."""
    if (3, 10) <= sys.version_info[:2] < (3, 13):
        return str(getattr(sys, "_base_executable", sys.executable))
    versions = Path.home() / ".pyenv" / "versions"
    for minor in ("3.12", "3.11", "3.10"):
        places = [shutil.which(f"python{minor}"), *sorted(str(p) for p in versions.glob(f"{minor}.*/bin/python"))]
        for place in places:
            if place and subprocess.run([place, "-c", ""], capture_output=True, check=False).returncode == 0:
                return place
    raise CouldNotInstall("needs a Python from 3.10 to 3.12")


def _npm(package: Package, folder: Path) -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise CouldNotInstall("npm is not on this machine")
    (folder / "package.json").write_text('{"private":true,"name":"clients"}\n')
    flags = ["--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(folder)]
    _run([npm, "install", *flags, *NPM_PATIENCE, f"{package.name}@{package.version}"], folder)
    manifest = json.loads((folder / "node_modules" / package.name / "package.json").read_text())
    return str(manifest["version"])


def _pip(package: Package, folder: Path) -> str:
    venv = folder / "venv"
    if not (venv / "bin" / "python").exists():
        _run([_python_for_pip(), "-m", "venv", str(venv)], folder)
    python = str(venv / "bin" / "python")
    wanted = package.name if package.version == "latest" else f"{package.name}=={package.version}"
    _run([python, "-m", "pip", "install", "--disable-pip-version-check", "-q", wanted], folder)
    code = f"import importlib.metadata as m; print(m.version({package.name!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def install(name: str, package: Package) -> Installed:
    """The CLI's folder, fetched when it is not there yet. "latest" is fetched again once a day."""
    folder = CACHE / f"{name}-{package.version}"
    stamp = folder / "installed.json"
    with _locked(folder):
        if stamp.exists():
            facts = json.loads(stamp.read_text())
            if package.version != "latest" or time.time() - stamp.stat().st_mtime < 86_400:
                return Installed(folder, facts["version"], facts["seconds"])
            stamp.unlink()
        reasons: list[str] = []
        for attempt in range(1 if package.ecosystem in _failed else TRIES):
            if attempt:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            try:
                version = (_npm if package.ecosystem == "npm" else _pip)(package, folder)
            except (CouldNotInstall, OSError, subprocess.CalledProcessError) as problem:
                reasons.append(str(problem))
                continue
            seconds = round(time.monotonic() - started, 1)
            stamp.write_text(json.dumps({"version": version, "seconds": seconds}))
            return Installed(folder, version, seconds)
    _failed.add(package.ecosystem)
    raise CouldNotInstall(f"{package.name}@{package.version}: tries that failed: {len(reasons)}; last: {reasons[-1]}")
