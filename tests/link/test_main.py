"""`python -m dataplane` as a process: how it starts, what it answers meanwhile, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest

from dataplane import VERSION
from dataplane.__main__ import main
from dataplane.core.usage import UsageRecord
from dataplane.link.link import Link, Status
from dataplane.settings import load
from dataplane.telemetry.metrics import Metrics
from protos import fleet_pb2 as pb
from tests.link import fleet_model as fleet
from tests.link.scripted_fleet import ScriptedFleet, serving

ROOT = Path(__file__).resolve().parents[2]


def environment(**settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIGATEWAY_")}
    return inherited | {f"AIGATEWAY_{name}": value for name, value in settings.items()}


@pytest.fixture
def called(monkeypatch, capsys):
    """`main` with exactly these settings: exit code, stdout, stderr."""

    def call(*arguments: str, **settings: str) -> tuple[int, str, str]:
        for name in [name for name in os.environ if name.startswith("AIGATEWAY_")]:
            monkeypatch.delenv(name)
        for name, value in settings.items():
            monkeypatch.setenv(f"AIGATEWAY_{name}", value)
        code = main(arguments)
        return code, *capsys.readouterr()

    return call


def test_settings_that_make_no_sense_are_told_one_per_line_and_end_in_2(called):
    code, _, told = called(LISTEN="nowhere", LOG_LEVEL="loud", FLEET_INSECURE="true", OTLP_HEADERS="canary")
    assert (code, len(told.splitlines())) == (2, 2)
    assert "canary" not in told
    code, _, told = called(FLEET_INSECURE="true", OTLP_HEADERS="canary")
    assert code == 2
    assert told.startswith("AIGATEWAY_OTLP_HEADERS: ")
    assert "canary" not in told


def test_check_prints_the_settings_in_force_and_no_secret(called):
    code, printed, _ = called("--check", FLEET_INSECURE="true", OTLP_HEADERS="authorization=canary", DRAIN_S="7")
    assert code == 0
    assert "AIGATEWAY_DRAIN_S=7\n" in printed
    assert "canary" not in printed


def test_check_names_a_variable_that_is_none(called):
    code, printed, told = called("--check", FLEET_INSECURE="true", TYPO="1", DRAINS="7", PEPPERS="of the other plane")
    assert code == 0
    assert [line.partition(" ")[0] for line in told.splitlines()] == ["AIGATEWAY_DRAINS", "AIGATEWAY_TYPO"]
    assert "did you mean AIGATEWAY_DRAIN_S?" in told
    assert "TYPO" not in printed


@pytest.mark.processes
def test_a_pod_that_cannot_have_its_port_says_so_and_ends_in_1():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "dataplane"]
        settings = environment(FLEET_INSECURE="true", LISTEN=address)
        ended = subprocess.run(
            command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120, check=False
        )
    assert ended.returncode == 1
    assert "gateway_cannot_start" in ended.stdout
    assert f"AIGATEWAY_LISTEN ({address}): " in ended.stdout


def test_a_spool_that_cannot_be_made_keeps_a_pod_from_starting(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AIGATEWAY_FLEET_INSECURE", "true")
    monkeypatch.setenv("AIGATEWAY_SPOOL_DIR", str(tmp_path / "file" / "spool"))
    with pytest.raises(OSError, match=r"^AIGATEWAY_SPOOL_DIR \(/.*/file/spool\): Not a directory$"):
        Link(load(), VERSION, Metrics("1"), lambda: Status("ready"))


@pytest.mark.processes
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"LISTEN": "192.0.2.1:5000", "LISTEN_PLAINTEXT": "true"}, "AIGATEWAY_LISTEN (192.0.2.1:5000): "),
        (
            {"LISTEN": "192.0.2.1:5000", "LISTEN_PLAINTEXT": "true", "WORKERS": "2"},
            "AIGATEWAY_LISTEN (192.0.2.1:5000): ",
        ),
        ({"UPSTREAM_CA": "FILE"}, "AIGATEWAY_UPSTREAM_CA (FILE): "),
        (
            {"LISTEN_CERT": "FILE", "LISTEN_KEY": "FILE"},
            "AIGATEWAY_LISTEN_CERT (FILE, with AIGATEWAY_LISTEN_KEY FILE",
        ),
    ],
)
def test_what_cannot_be_used_is_named_with_its_variable(tmp_path, settings, words):
    file = tmp_path / "file"
    file.write_text("no certificate")
    told = {name: value.replace("FILE", str(file)) for name, value in settings.items()}
    variables = environment(**{"FLEET_INSECURE": "true", "LISTEN": "127.0.0.1:0", **told})
    ended = subprocess.run(
        [sys.executable, "-m", "dataplane"], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 1
    assert words.replace("FILE", str(file)) in ended.stdout


@pytest.mark.processes
def test_the_process_leaves_no_core_and_is_not_dumpable():
    code = (
        "import ctypes, resource; from dataplane.__main__ import harden; harden();"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "(0, 0) 0"


@pytest.mark.processes
def test_a_pod_is_ready_once_it_has_a_configuration_and_leaves_in_order(on_loop, authority, tmp_path):
    certificates = authority.issue("pod")
    database = fleet.Database()

    async def story():
        server = ScriptedFleet()
        async with serving(server, authority.issue("fleet")) as port:
            pod = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dataplane"),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                env=environment(
                    LISTEN="127.0.0.1:0",
                    FLEET=f"127.0.0.1:{port}",
                    FLEET_CA=str(certificates.ca),
                    FLEET_CERT=str(certificates.cert),
                    FLEET_KEY=str(certificates.key),
                    SPOOL_DIR=str(tmp_path / "spool"),
                    PRE_DRAIN_S="0",
                    NAME="the pod",
                    COMMIT="4381ffd1c2d3",
                ),
            )
            output = pod.stdout
            assert output is not None

            async def event(name: str) -> dict:
                while line := await output.readline():
                    said = json.loads(line)
                    if said["event"] == name:
                        return dict(said)
                raise AssertionError(f"the pod ended before {name}")

            listening = await event("gateway_listening")
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening['port']}", timeout=60) as client:
                healthy = await client.get("/healthz")
                deployed = f"{VERSION}+4381ffd1c2d3"
                assert (healthy.status_code, healthy.json()["version"]) == (200, deployed)
                assert healthy.headers["x-langwatch-gateway-version"] == deployed
                assert (await client.get("/startupz")).status_code == 503
                conversation = await server.next()
                hello = await conversation.introduces(database)
                assert (hello.name, hello.version) == ("the pod", deployed)
                await conversation.says(
                    pb.FleetMessage(heartbeat_ack=pb.HeartbeatAck(seq=1, head_revision=1, fresh=True, epoch="epoch-1"))
                )
                await event("gateway_started")
                assert (await client.get("/startupz")).status_code == 200
                assert (await client.get("/readyz")).status_code == 200
                metrics = (await client.get("/metrics")).text
                assert "aigateway_configuration_revision 1.0" in metrics
                assert 'aigateway_upstream_connections{state="idle"} 0.0' in metrics
            pod.send_signal(signal.SIGTERM)
            await event("gateway_draining")
            await event("gateway_stopped")
            assert await pod.wait() == 0
            assert list((tmp_path / "spool").iterdir()) == []

    on_loop(story())


def test_records_in_memory_that_nobody_took_are_told_and_those_on_disk_are_kept(on_loop, monkeypatch, tmp_path):
    monkeypatch.setenv("AIGATEWAY_FLEET", "127.0.0.1:1")
    monkeypatch.setenv("AIGATEWAY_FLEET_INSECURE", "true")

    async def story():
        link = Link(load(), VERSION, Metrics("1"), lambda: Status("ready"))
        link.start()
        link.journal.settle(UsageRecord(request_id="req_1"))
        assert not await link.close(0.05)
        monkeypatch.setenv("AIGATEWAY_SPOOL_DIR", str(tmp_path))
        link = Link(load(), VERSION, Metrics("1"), lambda: Status("ready"))
        link.start()
        link.journal.settle(UsageRecord(request_id="req_1"))
        assert await link.close(0.05)
        assert len(list(tmp_path.glob("ses_*/*.segment"))) == 1

    on_loop(story())


def test_the_version_is_the_projects():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
