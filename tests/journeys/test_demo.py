"""`make demo` on a fresh clone: one command, a key that works, everything ends, a second run keeps its data."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.house import eventually, free_port, free_port_run

pytestmark = [pytest.mark.processes, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]


def clone(target: Path) -> Path:
    """The tracked files as `git clone` would lay them; the virtual environment is shared to save time."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, files):
        source = ROOT / name.decode()
        if source.is_file():
            (target / name.decode()).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name.decode())
    (target / ".venv").symlink_to(ROOT / ".venv")
    return target


class Run:
    """One `make demo`."""

    def __init__(self, checkout: Path, ports: dict[str, str]) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.report_path = checkout / "var" / "demo.json"
        self.output = checkout / "output"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                ["make", "demo"], cwd=checkout, env=kept | ports, stdout=output, stderr=output, start_new_session=True
            )

    def report(self) -> dict[str, Any]:
        def ready() -> dict[str, Any] | None:
            assert self.process.poll() is None, self.output.read_text()
            if "ready after" not in self.output.read_text():
                return None
            report: dict[str, Any] = json.loads(self.report_path.read_text())
            return report

        found: dict[str, Any] = eventually("the demo is ready", ready, within=180)
        return found

    def end(self, number: int) -> list[int]:
        pids = list(json.loads(self.report_path.read_text())["pids"].values())
        os.killpg(self.process.pid, number)
        self.process.wait(120)
        self.output.unlink()
        return pids


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    yield clone(tmp_path / "checkout")
    subprocess.run(["pkill", "-KILL", "-f", str(tmp_path)], check=False)


def first_request(report: dict[str, Any], pod: int = 0) -> httpx.Response:
    return httpx.post(
        f"{report['gateway_urls'][pod]}/v1/messages",
        headers={"x-api-key": report["virtual_key"], "anthropic-version": "2023-06-01"},
        json={"model": "claude-sonnet-5-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]},
        trust_env=False,
        timeout=60,
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_one_command_starts_everything_and_ctrl_c_ends_it(checkout: Path) -> None:
    ports = {
        "PODS": "2",
        "DEMO_WEB_PORT": str(free_port()),
        "DEMO_FLEET_PORT": str(free_port()),
        "DEMO_SIM_PORT": str(free_port()),
        "DEMO_POD_PORT": str(free_port_run(2)),
    }
    run = Run(checkout, ports)
    report = run.report()
    for name in ("gateway_urls", "admin_url", "admin_username", "admin_password", "api_url", "api_token"):
        assert report[name], name
    for name in ("virtual_key", "organization_id", "project_id", "pids"):
        assert report[name], name
    assert (run.report_path.stat().st_mode & 0o777) == 0o600
    assert len(report["gateway_urls"]) == 2
    for pod in range(2):
        assert first_request(report, pod).status_code == 200
    assert httpx.get(report["admin_url"], trust_env=False, follow_redirects=True, timeout=60).status_code == 200
    token = {"authorization": f"Bearer {report['api_token']}"}
    listed = httpx.get(f"{report['api_url']}virtual-keys", headers=token, trust_env=False, timeout=60).json()
    assert [key["name"] for key in listed["data"]] == ["demo-cli"]
    printed = run.output.read_text()
    for cli in ("Claude Code", "Codex", "Gemini CLI", "opencode", "Aider"):
        assert f"--- {cli}" in printed
    assert report["virtual_key"] in printed

    os.kill(report["pids"][f"pod-{ports['DEMO_POD_PORT']}"], signal.SIGKILL)
    eventually("a killed pod is started again", lambda: _status(report) == 200)

    pids = run.end(signal.SIGINT)
    eventually("nothing of it is left", lambda: not any(alive(pid) for pid in pids))
    assert not leftovers(checkout)

    again = Run(checkout, ports)
    second = again.report()
    assert second["virtual_key"] == report["virtual_key"]
    assert second["organization_id"] == report["organization_id"]
    assert first_request(second).status_code == 200
    usage = httpx.get(f"{second['api_url']}usage", headers=token, trust_env=False, timeout=60).json()["data"]
    assert len(usage) >= 3, "the first run's requests are still there"
    pids = again.end(signal.SIGTERM)
    eventually("nothing of it is left", lambda: not any(alive(pid) for pid in pids))


def _status(report: dict[str, Any]) -> int:
    try:
        return first_request(report).status_code
    except httpx.HTTPError:
        return 0


def leftovers(checkout: Path) -> list[str]:
    found = subprocess.run(["pgrep", "-af", str(checkout)], capture_output=True, text=True, check=False).stdout
    return [line for line in found.splitlines() if "pgrep" not in line]


def test_a_port_that_is_taken_is_named_with_the_way_out(checkout: Path, tmp_path: Path) -> None:
    """And of the checkout, which may be one that nobody can write to, nothing is changed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {"PATH": os.environ["PATH"], "DEMO_WEB_PORT": str(port), "DEMO_VAR": str(tmp_path / "elsewhere")}
        result = subprocess.run(
            [sys.executable, "-m", "deploy.demo"],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert result.returncode == 1
    assert re.search(rf"127\.0\.0\.1:{port} cannot be used .* Choose another with DEMO_WEB_PORT", result.stderr)
    assert not (checkout / "var").exists()


def test_the_readmes_commands_are_the_one_above_and_the_one_that_runs_this() -> None:
    readme = (ROOT / "README.md").read_text()
    assert re.findall(r"^make (\S+)", readme, re.MULTILINE) == ["demo", "test"]


def test_every_pid_of_a_demo_that_is_killed_dies_with_it(checkout: Path) -> None:
    ports = {
        "DEMO_WEB_PORT": str(free_port()),
        "DEMO_FLEET_PORT": str(free_port()),
        "DEMO_SIM_PORT": str(free_port()),
        "DEMO_POD_PORT": str(free_port()),
    }
    run = Run(checkout, ports)
    pids = list(run.report()["pids"].values())
    os.killpg(run.process.pid, signal.SIGKILL)
    eventually("its children are gone", lambda: not any(alive(pid) for pid in pids))
