"""Two demos in one directory: the second is told, and the first one keeps all that it has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.demo.__main__ import Demo
from deploy.demo.layout import DemoError
from deploy.demo.lock import NAME, Lock
from tests.contract.house import free_port

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from deploy.demo.lock import Lock
lock = Lock(Path(sys.argv[1]))
print(1, flush=True)
sys.stdin.read()
"""


def holder(var: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(var)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    return process


def everything_in(directory: Path) -> dict[str, tuple[int, int]]:
    stats = {str(path): path.lstat() for path in sorted(directory.rglob("*"))}
    return {path: (stat.st_mtime_ns, stat.st_ino) for path, stat in stats.items()}


def test_a_second_demo_is_told_who_runs_and_changes_nothing(tmp_path: Path) -> None:
    var = tmp_path / "var with space é"
    first = holder(var)
    (var / "run").mkdir()
    for name in ("demo.json", "secrets.json", "run/broker.sock"):
        (var / name).write_text("the first one's")
    before = everything_in(var)
    with first:
        second = subprocess.run(
            [sys.executable, "-m", "deploy.demo"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "DEMO_VAR": str(var), "DEMO_WEB_PORT": str(free_port())},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert second.returncode == 1
        assert f"a demo runs in {var} already, pid {first.pid}; stop it" in second.stderr
        assert "DEMO_VAR=" in second.stderr
        assert "Traceback" not in second.stderr
        assert everything_in(var) == before
        first.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_the_dead_is_free(tmp_path: Path, number: signal.Signals) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(DemoError, match=f"pid {process.pid}"):
            Lock(tmp_path)
        process.send_signal(number)
    again = Lock(tmp_path)
    assert (tmp_path / NAME).read_text() == f"{os.getpid()}\n"
    again.release()
    again.release()
    Lock(tmp_path).release()


def test_other_directories_are_free(tmp_path: Path) -> None:
    for name in ("one", "two"):
        demo = Demo({"DEMO_VAR": str(tmp_path / name)})
        assert (tmp_path / name / "secrets.json").stat().st_mode & 0o777 == 0o600
        with pytest.raises(DemoError, match="already"):
            Demo({"DEMO_VAR": str(tmp_path / name)})
        demo.lock.release()


def test_a_directory_that_cannot_be_made_is_named_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DemoError, match=r"DEMO_VAR: .*/file/var cannot be made or written to \(Not a directory\)"):
        Demo({"DEMO_VAR": str(tmp_path / "file" / "var")})
