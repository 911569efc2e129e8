"""What the control plane connects to, its database and its mail server: URLs of the environment as Django's settings.

Raises ConfigurationError for a URL that cannot be used; never shows a value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from controlplane.environment import ConfigurationError, Environment, is_loopback, variable_of
from controlplane.postgresql.waits import NETWORK, WAITS, Waits

SMTP_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
MAIL_TIMEOUT_S = 10
CONNECTION_S = 10  # that workers, beat and commands wait for a connection; web and fleet wait less


def database_settings(environment: Environment) -> dict[str, Any]:
    """Returns the settings of the one database."""
    url = environment.database_url.get_secret_value()
    if not url:
        return _sqlite(environment.var_dir / "aigateway.sqlite3")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigurationError("DATABASE_URL: not a URL") from None
    if parts.scheme == "sqlite":
        if parts.netloc or len(parts.path) < 2:
            raise ConfigurationError(
                "DATABASE_URL: a SQLite URL is sqlite:///relative/path or sqlite:////absolute/path"
            )
        return _sqlite(Path(unquote(parts.path[1:])))
    if parts.scheme in ("postgres", "postgresql"):
        waits = Waits(environment.statement_timeout_ms, pooling=environment.database_pooling)
        return _postgresql(url, pool=environment.database_pool, waits=waits)
    raise ConfigurationError("DATABASE_URL: the scheme must be postgresql or sqlite")


def _sqlite(path: Path) -> dict[str, Any]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # SQLite makes the file, not its directory
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        # A file for tests too: threads share it the way processes do.
        "TEST": {"NAME": f"{path}.test"},
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
        },
    }


def _postgresql(url: str, *, pool: int, waits: Waits) -> dict[str, Any]:
    parts = _conninfo(url, "DATABASE_URL")
    settings = {
        "ENGINE": "controlplane.postgresql",
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "CONN_HEALTH_CHECKS": True,
        # A cursor of the server's lives in one session, and a pooler may give the next statement to another one.
        "DISABLE_SERVER_SIDE_CURSORS": waits.shared,
        "OPTIONS": {
            **NETWORK,
            **parts,
            "pool": {"min_size": 0, "max_size": pool, "timeout": CONNECTION_S},
            WAITS: waits,
        },
    }
    if not settings["NAME"]:
        raise ConfigurationError("DATABASE_URL: names no database")
    return settings


def listen_settings(environment: Environment) -> dict[str, str]:
    """What a connection for notifications is made with where it has a URL of its own; else empty."""
    url = environment.listen_database_url.get_secret_value()
    return NETWORK | _conninfo(url, variable_of("listen_database_url")) if url else {}


def _conninfo(url: str, variable: str) -> dict[str, str]:
    try:
        conninfo = conninfo_to_dict(url)
    except ProgrammingError:
        raise ConfigurationError(f"{variable}: not a PostgreSQL connection URL") from None
    return {name: str(value) for name, value in conninfo.items() if value is not None}


def mail_settings(url: str) -> dict[str, Any]:
    """Returns the settings of the mail server, by their names. A password does not leave this machine in the clear."""
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError(f"{variable_of('smtp_url')}: not a URL") from None
    if parts.scheme not in SMTP_PORTS or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{variable_of('smtp_url')}: is smtps://user:password@host:port, smtp+starttls://… or smtp://…"
        )
    if parts.scheme == "smtp" and parts.password and not is_loopback(host):
        raise ConfigurationError(f"{variable_of('smtp_url')}: a password needs smtps:// or smtp+starttls://")
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": host,
        "EMAIL_PORT": port or SMTP_PORTS[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parts.scheme == "smtp+starttls",
        "EMAIL_TIMEOUT": MAIL_TIMEOUT_S,
    }
