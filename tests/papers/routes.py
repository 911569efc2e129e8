"""Which paths are answered: by pods, and by the control plane's web processes."""

from __future__ import annotations

import re
from functools import cache

from dataplane.core.errors import Refusal
from dataplane.dialects import registry
from dataplane.proxy.local_answers import OPEN_PATHS
from tests.papers.house import House

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")


def pod_answers(path: str, method: str = "") -> bool:
    """Whether a pod has a route there; `{…}` in the path stands for any name."""
    path = re.sub(r"\{[^}]*\}", "name", path)
    if path.count("/") == 1 and not method and _is_prefix(path):
        return True
    if path in OPEN_PATHS:
        return method in ("", "GET", "HEAD")
    for tried in (method,) if method else METHODS:
        try:
            registry.match(tried, path)
        except Refusal:
            continue
        return True
    return False


def _is_prefix(path: str) -> bool:
    """`/anthropic` and the like: nothing by itself, but every route may stand behind it."""
    return pod_answers(f"{path}/v1/models", "GET")


def web_answers(house: House, path: str, method: str = "") -> bool:
    """Whether the admin, the REST API or a probe has a route there."""
    if path.startswith("/api/v1"):
        rest = re.sub(r"\{[^}]*\}", "{}", path.removeprefix("/api/v1")).rstrip("/")
        return not rest or any(rest == known and (not method or method in ways) for known, ways in _rest(house))
    urls = re.findall(r"\bpath\(\"([^\"]*)\"", house.text("controlplane/urls.py"))
    return path.strip("/") in {url.strip("/") for url in urls} and method in ("", "GET")


@cache
def _rest(house: House) -> tuple[tuple[str, frozenset[str]], ...]:
    """The paths of the OpenAPI document and the methods of each."""
    found: dict[str, set[str]] = {"/openapi.yaml": {"GET"}}
    at = ""
    for line in house.text("controlplane/openapi.yaml").splitlines():
        if path := re.match(r"  (/\S*):$", line):
            at = re.sub(r"\{[^}]*\}", "{}", path[1]).removeprefix("/api/v1").rstrip("/")
            found.setdefault(at, set())
        elif at and (verb := re.match(r"    (get|post|put|patch|delete):$", line)):
            found[at].add(verb[1].upper())
    return tuple((path, frozenset(ways)) for path, ways in found.items())
