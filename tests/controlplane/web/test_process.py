"""The web process as it is served: what Django's test client does not pass through."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from controlplane.environment import REPOSITORY, ConfigurationError, Environment
from controlplane.web import metrics_files
from tests.contract.house import eventually, free_port
from tests.controlplane.web.process import web

pytestmark = pytest.mark.processes


def value(page: str, name: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name))


@pytest.mark.django_db(transaction=True)
def test_bodies_larger_than_any_of_ours_are_refused_before_they_are_kept(tmp_path: Path):
    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    with web(tmp_path) as client:
        for content in (b" " * 2_000_000, pieces()):
            answer = client.post("/api/v1/teams", content=content, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
            assert answer.json()["request_id"] == answer.headers["X-Langwatch-Request-Id"]
        page = client.post("/admin/login/", content=b"x" * 2_000_000)
        assert (page.status_code, "too large" in page.text) == (413, True)
        assert client.get("/healthz").status_code == 200


def test_a_database_without_tables_is_not_ready_until_it_is_migrated(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/new.sqlite3"
    with web(tmp_path, DATABASE_URL=url) as client:
        before = client.get("/readyz")
        assert (before.status_code, "migrate" in before.json()["because"]) == (503, True)
        environment = os.environ | {"DATABASE_URL": url}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=REPOSITORY, env=environment, check=True)
        assert client.get("/readyz").json() == {"status": "ready"}


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.django_db(transaction=True)
def test_every_process_shows_the_figures_of_all(tmp_path: Path):
    port = free_port()
    with (
        web(tmp_path, "--workers", "2", WEB_METRICS_LISTEN=f"127.0.0.1:{port}") as client,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as scraper,
    ):
        address = str(client.base_url)
        eventually("an answer", lambda: answers(f"{address}/healthz") and answers(f"http://127.0.0.1:{port}/metrics"))
        before = value(scraper.get("/metrics").text, 'aigateway_web_requests_total{method="GET",route="/healthz"')
        for number in range(20):  # a connection each: the kernel hands them out
            httpx.get(f"{address}/healthz")
            httpx.get(f"{address}/nothing-{number}")
            httpx.get(f"{address}/api/v1/virtual-keys/vk_{number}/rotate")
        for _ in range(4):
            page = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            assert value(page, 'aigateway_web_requests_total{method="GET",route="/healthz"') == before + 20
            assert value(page, 'aigateway_web_requests_total{method="GET",route="other",status="404"}') == 20
            rotate = 'aigateway_web_requests_total{method="GET",route="/api/v1/virtual-keys/{pk}/rotate",status="401"}'
            assert value(page, rotate) == 20
            assert value(page, "aigateway_web_request_seconds_count") >= 60
            assert "nothing-7" not in page
            assert "vk_7" not in page
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 404
        assert value(httpx.get(f"{address}/metrics").text, "aigateway_web_request_seconds_count") >= 60
        assert httpx.get(f"{address}/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 404


def test_what_the_dead_have_left_goes_once_none_of_them_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(metrics_files.VARIABLE, "")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for process in (ended.pid, os.getppid()):
        (tmp_path / f"counter_{process}.db").touch()
    metrics_files.share(tmp_path)
    assert len(list(tmp_path.glob("*.db"))) == 2
    (tmp_path / f"counter_{os.getppid()}.db").unlink()
    metrics_files.share(tmp_path)
    assert list(tmp_path.glob("*.db")) == []
    assert metrics_files.shared() == str(tmp_path)


def test_figures_are_for_the_loopback_only():
    with pytest.raises(ConfigurationError, match=r"AIGATEWAY_WEB_METRICS_LISTEN.*loopback"):
        Environment(web_metrics_listen="0.0.0.0:9100").demand_secrets()
