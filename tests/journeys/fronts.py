"""The proxies of `deploy/front`, started with the very files that an installation begins from; and curl in front of
them, since Python's clients do not speak HTTP/2.

In the files, addresses, ports and the directory of the certificate are put in place of the ones that stand there.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from tests.contract.house import PATIENCE_S, free_port
from tests.link.conftest import Authority
from tests.missing import is_missing

ROOT = Path(__file__).resolve().parents[2]
GATEWAY, ADMIN = "gateway.example.com", "admin.example.com"

# nginx as its packages have it: what somebody writes who has read nothing of ours.
NGINX_DEFAULTS = """
pid /run/aigateway-nginx.pid;
error_log stderr warn;
events {}
http {
    access_log off;
    ssl_certificate /etc/aigateway/front.pem;
    ssl_certificate_key /etc/aigateway/front.key;
    server {
        listen 8443 ssl http2;
        location / { proxy_pass http://127.0.0.1:5563; }
        location /gw/ { proxy_pass http://127.0.0.1:5563/; }
    }
    server { listen 9443 ssl; location / { proxy_pass http://127.0.0.1:5560; } }
}
"""


@dataclass(frozen=True)
class Front:
    """One proxy. `pod`, `web`, `admin`: how its file writes where they are, and where it listens for the admin."""

    name: str
    program: str
    text: str
    command: tuple[str, ...]
    pod: str = "127.0.0.1:5563"
    web: str = "127.0.0.1:5560"
    admin: str = "9443"

    def configured(self, directory: Path, ports: dict[str, int]) -> Path:
        """Its file, with these ports for `gateway`, `admin`, `pod` and `web`."""
        text = self.text
        wanted = {
            "/etc/aigateway/": f"{directory}/",
            "8443": str(ports["gateway"]),
            self.pod: self.pod.replace("5563", str(ports["pod"])),
            self.web: self.web.replace("5560", str(ports["web"])),
        }
        if self.admin != "8443":
            wanted[self.admin] = str(ports["admin"])
        if self.program == "nginx":
            wanted["/run/"] = f"{directory}/"
        for words, instead in wanted.items():
            assert words in text, f"{self.name}: {words} is not in the file any more"
            text = text.replace(words, instead)
        path = directory / f"front{Path(self.command[-1]).suffix}"
        path.write_text(text)
        return path


def _file(name: str) -> str:
    return (ROOT / "deploy" / "front" / name).read_text()


NGINX = Front("nginx", "nginx", _file("nginx.conf"), ("-g", "daemon off;", "-c", "x.conf"))
HAPROXY = Front("haproxy", "haproxy", _file("haproxy.cfg"), ("-db", "-f", "x.cfg"))
ENVOY = Front(
    "envoy",
    "envoy",
    _file("envoy.yaml"),
    ("--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id", "-c", "x.yaml"),
    pod="port_value: 5563",
    web="port_value: 5560",
    admin="8443",
)
UNTOUCHED = Front("nginx with its defaults", "nginx", NGINX_DEFAULTS, ("-g", "daemon off;", "-c", "x.conf"))


def program(name: str) -> str:
    """Where it is. None on this machine is a loud skip, in CI a failure."""
    found = shutil.which(name) or shutil.which(name, path=f"/usr/sbin:{ROOT / '.venv' / 'bin'}")
    if found is None:
        is_missing(f"no {name} on this machine: deploy/test-tools.sh installs it where it can")
    return found


@dataclass(frozen=True)
class Running:
    """A proxy that listens: `gateway` and `admin` are its ports."""

    gateway: int
    admin: int
    authority: Path

    def curl(self, path: str, *arguments: str, admin: bool = False) -> list[str]:
        """The command line that asks for a path of it."""
        name, port = (ADMIN, self.admin) if admin else (GATEWAY, self.gateway)
        checked = ("-k",) if admin else ("--cacert", str(self.authority))
        address = f"https://{name}:{port}{path}"
        return [program("curl"), "-sSN", "--resolve", f"{name}:{port}:127.0.0.1", *checked, *arguments, address]


@asynccontextmanager
async def running(
    front: Front, authority: Authority, directory: Path, *, pod: int, web: int = 1
) -> AsyncIterator[Running]:
    """The proxy in front of these ports, from when it accepts connections on."""
    binary = program(front.program)
    issued = authority.issue(GATEWAY)
    certificate, key = issued.cert.read_bytes(), issued.key.read_bytes()
    (directory / "front.pem").write_bytes(certificate + key if front is HAPROXY else certificate)
    (directory / "front.key").write_bytes(key)
    ports = {"gateway": free_port(), "admin": free_port(), "pod": pod, "web": web}
    path = front.configured(directory, ports)
    log = (directory / "log").open("wb")
    process = subprocess.Popen([binary, *front.command[:-1], str(path)], stdout=log, stderr=log, cwd=directory)
    try:
        await _accepts(ports["gateway"], process, directory / "log")
        admin = ports["gateway"] if front.admin == "8443" else ports["admin"]
        yield Running(ports["gateway"], admin, issued.ca)
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, PATIENCE_S)
        log.close()


async def _accepts(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            assert process.poll() is None, log.read_text()
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            await asyncio.sleep(0.01)
