"""`House`: the whole product as real processes on free ports, with handles to kill, cut off and restart its parts."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from deploy.demo.__main__ import Demo
from deploy.demo.layout import DemoError
from deploy.demo.supervisor import Child
from tests.contract.faults import FaultyLink

# How long anything that must happen may take on a busy machine before the test says that it did not.
PATIENCE_S = float(os.environ.get("AIGATEWAY_TEST_PATIENCE_S", "60"))


def free_port() -> int:
    return free_port_run(1)


def free_port_run(count: int) -> int:
    """The first of `count` consecutive free ports.

    None that the kernel gives to outgoing connections: a busy machine would give one away while its owner restarts.
    """
    while True:
        first = random.randrange(10_000, _first_outgoing_port() - count)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


def _first_outgoing_port() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        first = 32_768
    return first if first > 11_000 else 65_000


def eventually(what: str, probe: Callable[[], Any], within: float = PATIENCE_S) -> Any:
    """The first truthy answer of `probe`; fails with `what` when there is none in time."""
    deadline = time.monotonic() + within
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {within:g} s: {what} (last answer: {answer!r})")
        time.sleep(0.02)


class House(Demo):
    """A demo whose parts can be ended, and whose pods can be cut off, each on a link of its own."""

    def __init__(
        self,
        var: Path,
        *,
        pods: int = 1,
        database_url: str = "",
        pod_settings: dict[str, str] | None = None,
        settings: dict[str, str] | None = None,
    ):
        self._pod_settings = pod_settings or {}
        self.links: list[FaultyLink] = []
        sim_port = free_port()
        environment = {
            "PODS": str(pods),
            "DEMO_VAR": str(var),
            "DATABASE_URL": database_url,
            "DEMO_WEB_PORT": str(free_port()),
            "DEMO_FLEET_PORT": str(free_port()),
            "DEMO_SIM_PORT": str(sim_port),
            "DEMO_POD_PORT": str(free_port_run(pods)),
        }
        chosen = {
            name: value.replace("{simulator}", f"http://127.0.0.1:{sim_port}")
            for name, value in (settings or {}).items()
        }
        passed_on = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        super().__init__(passed_on | environment | chosen)

    def pod_environment(self, index: int) -> dict[str, str]:
        while len(self.links) <= index:
            self.links.append(FaultyLink(("127.0.0.1", self.layout.fleet_port)))
        fleet = f"127.0.0.1:{self.links[index].port}"
        return super().pod_environment(index) | {"AIGATEWAY_FLEET": fleet} | self._pod_settings

    # -- parts ----------------------------------------------------------------------------------------------------

    def child(self, name: str) -> Child:
        return next(child for child in self.supervisor.children if child.name == name)

    @property
    def pods(self) -> list[Child]:
        return [child for child in self.supervisor.children if child.name.startswith("pod-")]

    def kill(self, name: str) -> None:
        child = self.child(name)
        child.signal(signal.SIGKILL)
        if child.process is not None:
            child.process.wait()

    def revive(self, name: str) -> None:
        self.child(name).start()

    def await_ready(self, index: int = 0) -> None:
        self.await_answer(self.pods[index], f"{self.layout.gateway_urls[index]}/readyz", lambda status: status == 200)

    def await_web(self) -> None:
        self.await_answer(self.child("web"), f"{self.layout.web_url}/healthz", lambda status: status == 200)

    def close(self) -> None:
        self.supervisor.end()
        self.lock.release()
        for link in self.links:
            link.close()

    # -- speaking with it -----------------------------------------------------------------------------------------

    @property
    def virtual_key(self) -> str:
        return str(self.report["virtual_key"])

    def api(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.report["api_url"],
            headers={"authorization": f"Bearer {self.report['api_token']}"},
            trust_env=False,
            timeout=60.0,
        )

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One POST to the REST API, repeated with the same idempotency key while the web process is away."""
        headers = {"idempotency-key": secrets.token_hex(16)}

        def once() -> dict[str, Any] | None:
            try:
                with self.api() as client:
                    answer = client.post(path, json=body or {}, headers=headers)
            except httpx.TransportError:
                return None
            assert answer.status_code < 300, f"POST {path}: {answer.status_code} {answer.text}"
            return {"_": True} | (answer.json() if answer.content else {})

        answered: dict[str, Any] = eventually(f"POST {path} answers", once)
        return answered

    def mint(self, **fields: Any) -> dict[str, Any]:
        body = {"name": f"key-{secrets.token_hex(4)}", "project_id": self.report["project_id"]} | fields
        return self.post("virtual-keys", body)

    def usage(self, **query: str) -> list[dict[str, Any]]:
        """All usage records that match, following the pages."""
        records: list[dict[str, Any]] = []
        parameters = {"limit": "200", **query}
        with self.api() as client:
            while True:
                answer = client.get("usage", params=parameters)
                assert answer.status_code == 200, answer.text
                page = answer.json()
                records += page["data"]
                if page["next_cursor"] is None:
                    return records
                parameters["cursor"] = page["next_cursor"]

    def booked(self, request_id: str) -> list[dict[str, Any]]:
        """What a request's ends say. Its beginning may be in the ledger before."""
        return [each for each in self.usage(request_id=request_id) if each["state"] == "final"]

    def simulator(self) -> httpx.Client:
        return httpx.Client(base_url=self.layout.sim_url, trust_env=False, timeout=60.0)

    def gateway(self, index: int = 0, key: str | None = None) -> httpx.Client:
        return httpx.Client(
            base_url=self.layout.gateway_urls[index],
            headers={"authorization": f"Bearer {key or self.virtual_key}"},
            trust_env=False,
            timeout=httpx.Timeout(60.0),
        )

    def metrics(self, index: int = 0) -> str:
        with self.gateway(index) as client:
            return client.get("/metrics").text

    def logs(self) -> Iterator[tuple[str, str]]:
        for path in sorted((self.var / "log").glob("*.log*")):
            yield path.name, path.read_text(errors="replace")


def open_house(var: Path, **options: Any) -> House:
    """A started house. Free ports may be taken between choosing and using them: then others are chosen."""
    for attempts_left in (2, 1, 0):
        house = House(var, **options)
        try:
            house.start_all()
            return house
        except DemoError as problem:
            house.close()
            if attempts_left == 0 or not _about_ports(str(problem)):
                raise
        except BaseException:
            house.close()
            raise
    raise AssertionError("the last attempt raises")


def _about_ports(problem: str) -> bool:
    return any(words in problem.lower() for words in ("cannot be used", "address already in use", "address in use"))


def message_body(text: str, *, stream: bool = False, model: str = "claude-sonnet-5-5") -> dict[str, Any]:
    return {
        "model": model,
        "max_tokens": 1024,
        "stream": stream,
        "messages": [{"role": "user", "content": text}],
    }


def as_json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


__all__ = ["House", "as_json", "eventually", "free_port", "message_body", "open_house"]
