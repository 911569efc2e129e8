"""Writes what is made from code: OpenAPI document, tables of settings, metrics, errors, routes; or says what is stale.

`openapi` | `tables` | `makemigrations` write; `--check` compares; `migrations` asks whether models and migrations
agree, `deployment` whether Django warns of the settings that an installation behind HTTPS has.
"""

from __future__ import annotations

import base64
import difflib
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OPENAPI = ROOT / "controlplane" / "openapi.yaml"
REFERENCE = ROOT / "deploy" / "reference"

NOTE = "<!-- Made by `make docs` from the declarations in the code; edit those. -->\n"


def management_environment() -> dict[str, str]:
    """Enough for management commands that touch no data: throw-away secrets, a database that is never opened, HTTPS."""
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
        "DATABASE_URL": "sqlite:///" + str(Path(tempfile.gettempdir()) / "aigateway-generate.sqlite3"),
        "AIGATEWAY_HTTPS": "on",
        "AIGATEWAY_SECRET_KEY": secrets.token_urlsafe(50),
        "AIGATEWAY_ROOT_KEYS": "1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "AIGATEWAY_PEPPERS": "1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
    }


def manage(*arguments: str) -> int:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return subprocess.run(command, env=management_environment(), cwd=ROOT, check=False).returncode


def openapi_text() -> str:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "openapi.yaml"
        if manage("spectacular", "--validate", "--fail-on-warn", "--file", str(path)) != 0:
            raise SystemExit("the OpenAPI document could not be made")
        return path.read_text()


def settings_text() -> str:
    from controlplane import environment
    from dataplane import settings
    from deploy.demo.layout import VARIABLES

    demo = "\n".join(
        f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |" for name, default, meaning in VARIABLES
    )
    return (
        f"{NOTE}# Settings\n\nEvery variable `X` can also be given as `X_FILE`: the path of a file with the value.\n\n"
        f"## Pod\n\n{settings.render_table()}\n\n## Control plane\n\n{environment.render_table()}\n\n"
        f"## Demo\n\nThese are read by `make demo` alone and have no `_FILE` form.\n\n"
        f"| variable | default | meaning |\n|---|---|---|\n{demo}\n"
    )


def metrics_text() -> str:
    from controlplane.fleet.register import metrics as fleet
    from controlplane.web import metrics as web
    from dataplane.telemetry import metrics

    return (
        f"{NOTE}# Metrics of a pod\n\nAt `GET /metrics`, Prometheus text format.\n\n{metrics.render_table()}\n\n"
        "# Metrics of a fleet server\n\nAt `GET /metrics` of `AIGATEWAY_FLEET_METRICS_LISTEN`, a loopback address; "
        f"`GET /healthz` beside it is 200 while the database is read.\n\n{fleet.render_table()}\n\n"
        "# Metrics of the web processes\n\nAt `GET /metrics`, for who asks from the same machine, and of "
        "`AIGATEWAY_WEB_METRICS_LISTEN`, a loopback address, with which each process shows the figures of all."
        f"\n\n{web.render_table()}\n"
    )


def errors_text() -> str:
    from dataplane.core import errors

    return (
        f"{NOTE}# Errors that the gateway authors\n\nA provider's own errors are forwarded as they are. "
        "Envelope and status follow the dialect and the client that was recognized, so that each "
        "[coding CLI](../../README.md#point-a-cli-at-it) stops and shows the words.\n\n"
        f"{errors.render_table()}\n"
    )


def routes_text() -> str:
    from deploy import routes

    os.environ.update(management_environment())
    return f"{NOTE}# Routes of a pod\n\n{routes.render()}"


TABLES: dict[Path, Callable[[], str]] = {
    REFERENCE / "settings.md": settings_text,
    REFERENCE / "metrics.md": metrics_text,
    REFERENCE / "errors.md": errors_text,
    REFERENCE / "routes.md": routes_text,
}


def check() -> int:
    stale = 0
    for path, make in {OPENAPI: openapi_text, **TABLES}.items():
        text, kept = make(), path.read_text() if path.exists() else ""
        if text != kept:
            stale += 1
            name = str(path.relative_to(ROOT))
            sys.stdout.writelines(
                difflib.unified_diff(kept.splitlines(True), text.splitlines(True), name, "generated", n=1)
            )
            print(f"{name} is out of date: make docs openapi")
    return 1 if stale else 0


def main() -> int:
    match sys.argv[1:]:
        case ["openapi"]:
            OPENAPI.write_text(openapi_text())
        case ["tables"]:
            REFERENCE.mkdir(exist_ok=True)
            for path, make in TABLES.items():
                path.write_text(make())
        case ["makemigrations"]:
            return manage("makemigrations")
        case ["migrations"]:
            return manage("makemigrations", "--check", "--dry-run")
        case ["deployment"]:
            return manage("check", "--deploy", "--fail-level", "WARNING")
        case ["--check"]:
            return check()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
