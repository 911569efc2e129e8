"""Where the demo keeps things and which ports it takes; every one can be overridden by an environment variable."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# name, default, meaning: a table of deploy/reference/settings.md
VARIABLES: tuple[tuple[str, str, str], ...] = (
    ("PODS", "1", "how many pods"),
    ("DEMO_HOST", "127.0.0.1", "address that everything listens on"),
    ("DEMO_WEB_PORT", "5560", "admin and REST API"),
    ("DEMO_FLEET_PORT", "5561", "gRPC server that pods connect to"),
    ("DEMO_SIM_PORT", "5562", "provider simulator"),
    ("DEMO_POD_PORT", "5563", "first pod; the next pods take the ports above it"),
    ("DEMO_VAR", "var", "directory for database, certificates, secrets, logs and demo.json"),
    ("DATABASE_URL", "", "PostgreSQL instead of SQLite in the directory above"),
    ("ANTHROPIC_API_KEY", "", "with it, requests go to Anthropic instead of the simulator"),
    ("OPENAI_API_KEY", "", "the same for OpenAI"),
    ("GEMINI_API_KEY", "", "the same for Gemini"),
    ("DEMO_ANTHROPIC_BASE_URL", "", "another endpoint for the Anthropic provider"),
    ("DEMO_OPENAI_BASE_URL", "", "another endpoint for the OpenAI provider"),
    ("DEMO_GEMINI_BASE_URL", "", "another endpoint for the Gemini provider"),
)

SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes


class DemoError(Exception):
    """Said to the person in front of the terminal, without a traceback."""


@dataclass(frozen=True, slots=True)
class Layout:
    host: str
    web_port: int
    fleet_port: int
    sim_port: int
    pod_ports: tuple[int, ...]
    var: Path
    database_url: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Layout:
        defaults = {name: default for name, default, _ in VARIABLES}

        def text(name: str) -> str:
            return environment.get(name, "").strip() or defaults[name]

        def number(name: str, low: int, high: int) -> int:
            try:
                value = int(text(name))
            except ValueError:
                raise DemoError(f"{name}={text(name)!r} is not a number; it should be {low} to {high}") from None
            if not low <= value <= high:
                raise DemoError(f"{name}={value} is out of range; it should be {low} to {high}")
            return value

        pods = number("PODS", 1, 32)
        first = number("DEMO_POD_PORT", 1024, 65535 - pods)
        var = Path(text("DEMO_VAR"))
        return cls(
            host=text("DEMO_HOST"),
            web_port=number("DEMO_WEB_PORT", 1024, 65535),
            fleet_port=number("DEMO_FLEET_PORT", 1024, 65535),
            sim_port=number("DEMO_SIM_PORT", 1024, 65535),
            pod_ports=tuple(range(first, first + pods)),
            var=var if var.is_absolute() else ROOT / var,
            database_url=environment.get("DATABASE_URL", ""),
        )

    @property
    def web_url(self) -> str:
        return f"http://{self.host}:{self.web_port}"

    @property
    def sim_url(self) -> str:
        return f"http://{self.host}:{self.sim_port}"

    @property
    def gateway_urls(self) -> list[str]:
        return [f"http://{self.host}:{port}" for port in self.pod_ports]

    def refuse_taken_ports(self) -> None:
        ports = {"DEMO_WEB_PORT": self.web_port, "DEMO_FLEET_PORT": self.fleet_port, "DEMO_SIM_PORT": self.sim_port}
        for index, port in enumerate(self.pod_ports):
            ports[f"DEMO_POD_PORT (pod {index + 1})"] = port
        if len(set(ports.values())) < len(ports):
            raise DemoError(f"two parts of the demo were given the same port: {ports}")
        for name, port in ports.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self.host, port))
                except OSError as problem:
                    raise DemoError(
                        f"{self.host}:{port} cannot be used ({problem.strerror}); is a demo running already?"
                        f" Choose another with {name}=…"
                    ) from None

    def broker_socket(self) -> Path:
        """A Unix socket path short enough for the kernel, in a directory that only this user can enter."""
        path = self.var / "run" / "broker.sock"
        if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
            path = Path(tempfile.mkdtemp(prefix="aigw-")) / "broker.sock"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path
