"""The demo's own secrets: made once, kept in a file that only this user can read."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path
from typing import Any


def write_private(path: Path, content: str) -> None:
    """Atomically, mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    scratch.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def ensure(path: Path) -> dict[str, str]:
    """Environment variables of the control plane that hold secrets, the same at every start."""
    kept = read_json(path)
    wanted = {
        "AIGATEWAY_SECRET_KEY": secrets.token_urlsafe(50),
        "AIGATEWAY_ROOT_KEYS": "1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "AIGATEWAY_PEPPERS": "1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "DEMO_ADMIN_PASSWORD": secrets.token_urlsafe(12),
    }
    complete = {name: str(kept.get(name) or fresh) for name, fresh in wanted.items()}
    if complete != kept:
        write_private(path, json.dumps(complete, indent=2) + "\n")
    return complete
