"""The harness itself: recipes are followed, sets are chosen, runs are caged and leave nothing behind."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.clients import cage, install
from tests.clients.cli import Case, Cli, HandOut
from tests.clients.install import CouldNotInstall, Installed, Package
from tests.clients.recipe import follow
from tests.clients.registry import CLIS, selected
from tests.clients.run import Finished, run
from tests.simprovider import SimInThread

URL, KEY = "http://127.0.0.1:5563", "lw_vk_test_x"


def test_the_sets_are_what_the_make_targets_say() -> None:
    assert {(cli.name, case.version) for cli, case in selected("light")} == {
        ("claude-code", "2.0.76"),
        ("gemini-cli", "0.61.0"),
    }
    every = {cli.name for cli in CLIS}
    assert {cli.name for cli, _ in selected("all")} == {cli.name for cli, _ in selected("latest")} == every
    assert {case.version for _, case in selected("latest")} == {"latest"}
    with pytest.raises(ValueError, match="not 'some'"):
        selected("some")


@pytest.mark.parametrize(("cli", "case"), [(cli, cli.cases[0]) for cli in CLIS], ids=[cli.name for cli in CLIS])
def test_each_cli_is_handed_the_url_and_the_key(cli: Cli, case: Case) -> None:
    given = cli.hand_out(URL, KEY, case)
    everything = [
        *given.variables.values(),
        *given.files.values(),
        *(word for words in given.commands for word in words),
    ]
    assert any(URL in text for text in everything)
    assert any(KEY in text for text in everything)


def test_a_recipe_becomes_variables_and_files() -> None:
    given = follow("codex", URL, KEY, "gpt-5.5")
    assert given.variables == {"AIGATEWAY_API_KEY": KEY}
    assert f'base_url = "{URL}/v1"' in given.files[".codex/config.toml"]
    assert follow("cline", URL, KEY, "m").command("cline", "auth")[:2] == ["--provider", "openai-compatible"]


def test_what_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "CACHE", tmp_path)
    monkeypatch.setattr(install, "_failed", set())
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(CouldNotInstall, match="tries that failed: 3; last: npm is not on this machine"):
        install.install("some", Package("npm", "some-cli", "1.0.0"))
    with pytest.raises(CouldNotInstall, match="tries that failed: 1;"):
        install.install("other", Package("npm", "other-cli", "1.0.0"))


def fake(tmp_path: Path, script: str, sim: SimInThread, timeout: float = 30) -> Finished:
    """Runs a Python script as if it were a CLI."""
    program = tmp_path / "venv" / "bin" / "fake"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\n{script}")
    program.chmod(0o755)
    cli = Cli(
        name="fake",
        client="other",
        ecosystem="pip",
        package="fake",
        program="fake",
        cases=(),
        hand_out=lambda base_url, key, case: HandOut({"BASE": base_url, "KEY": key}, {".fake/config": "yes"}),
        command=lambda path, prompt, case, given: [str(path), prompt],
    )
    case = Case("1", "m", "openai_chat")
    installed = Installed(tmp_path, "1", 0)
    return run(cli, case, installed, base_url=sim.url, key=KEY, prompt="do", folder=tmp_path / "run", timeout=timeout)


@pytest.fixture
def sim() -> SimInThread:
    return SimInThread()


def test_a_run_has_an_empty_home_and_only_what_was_handed_out(tmp_path: Path, sim: SimInThread) -> None:
    script = """import os, sys
print(sorted(name for name in os.environ if name.isupper()), os.listdir(os.environ["HOME"]), sys.argv[1:])
sys.exit(3)"""
    with sim:
        finished = fake(tmp_path, script, sim)
    assert finished.exit_code == 3
    for word in ("'BASE'", "'KEY'", "['.fake']", "['do']"):
        assert word in finished.said
    assert "DJANGO" not in finished.said
    assert "AIGATEWAY_SECRET" not in finished.said


def test_the_gateway_can_be_reached_from_the_cage_and_nothing_else(tmp_path: Path, sim: SimInThread) -> None:
    if not cage.available():
        pytest.skip("needs root on Linux for a network namespace")
    with socket.create_server(("127.0.0.1", 0)) as other:
        script = f"""import os, socket, urllib.request
print(urllib.request.urlopen(os.environ["BASE"] + "/_sim/health").status)
try:
    socket.create_connection(("127.0.0.1", {other.getsockname()[1]}), 5)
    print("escaped")
except OSError as problem:
    print("caged")"""
        with sim:
            finished = fake(tmp_path, script, sim)
    assert finished.said.split() == ["200", "caged"]


def test_a_daemon_that_leaves_its_group_is_ended_with_the_run(tmp_path: Path, sim: SimInThread) -> None:
    script = """import os, subprocess, sys
child = subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(child.pid)"""
    with sim:
        finished = fake(tmp_path, script, sim)
    assert finished.exit_code == 0
    daemon = Path(f"/proc/{int(finished.stdout)}/stat")
    assert not daemon.exists() or daemon.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_run_that_hangs_is_ended_and_says_so(tmp_path: Path, sim: SimInThread) -> None:
    with sim:
        finished = fake(tmp_path, "import time\nprint('here', flush=True)\ntime.sleep(600)", sim, timeout=2)
    assert finished.exit_code is None
    assert finished.said == "here"
