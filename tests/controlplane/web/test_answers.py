"""Whatever fails, and wherever: a problem for programs, a page for people, and nothing internal in either."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.db import IntegrityError, OperationalError
from django.http.request import UnreadablePostError
from django.test import Client

from controlplane.environment import REPOSITORY
from controlplane.tenancy.api import Teams
from controlplane.web.probes import needed
from tests.controlplane.rest.program import Api

pytestmark = pytest.mark.django_db
CANARY = "canary-of-the-database"


@pytest.fixture(params=[False, True], ids=["debug off", "debug on"], autouse=True)
def debug(request: pytest.FixtureRequest, settings: Any) -> bool:
    settings.DEBUG = request.param
    return bool(request.param)


def is_problem(answer: Any, status: int, code: str = "") -> dict[str, Any]:
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    problem: dict[str, Any] = json.loads(answer.content)
    assert problem["status"] == status
    assert all(problem[name] for name in ("type", "title", "code", "detail", "who_can_help"))
    assert problem["request_id"] == answer.headers["X-Langwatch-Request-Id"]
    assert code in ("", problem["code"])
    for internal in (CANARY, "Traceback", "django", str(REPOSITORY), "controlplane/", "sqlite", "psycopg"):
        assert internal not in answer.content.decode()
    return problem


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/v1", "/api/v1/", "/api/nothing", "/api/v1/nothing", "/api/v2/teams"]
)
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "head", "options", "trace"])
def test_a_route_that_there_is_not(path: str, method: str):
    answer = getattr(Client(raise_request_exception=False), method)(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert method == "head" or "openapi.yaml" in answer.json()["detail"]


def failing(api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception) -> Any:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Teams, "list", fails)
    api.client = Client(raise_request_exception=False)
    return api.get("teams")


def busy_error() -> OperationalError:
    error = OperationalError(CANARY)
    error.__cause__ = sqlite3.OperationalError(CANARY)
    error.__cause__.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError(CANARY), 500, "internal_error"),
        (KeyError(CANARY), 500, "internal_error"),
        (OperationalError(f"no such table: {CANARY}"), 500, "internal_error"),
        (IntegrityError(CANARY), 500, "internal_error"),
        (TimeoutError(CANARY), 500, "internal_error"),
        (busy_error(), 503, "database_busy"),
        (SuspiciousOperation(CANARY), 400, "bad_request"),
        (BadRequest(CANARY), 400, "bad_request"),
        (UnreadablePostError(CANARY), 400, "bad_request"),
        (RequestDataTooBig(CANARY), 413, "payload_too_large"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_exception(api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str):
    problem = is_problem(failing(api, monkeypatch, error), status, code)
    assert status != 500 or "request id" in problem["detail"]


def test_what_fails_in_middleware_and_not_in_a_view(monkeypatch: pytest.MonkeyPatch):
    def fails(*_: Any) -> None:
        raise busy_error()

    monkeypatch.setattr(SessionStore, "load", fails)
    client = Client(raise_request_exception=False)
    client.cookies["aigateway_session"] = "abcdefghijklmnopqrstuvwxyz012345"
    answer = client.get("/api/v1/teams")
    is_problem(answer, 503)
    assert 1 <= int(answer.headers["Retry-After"]) <= 20
    page = client.get("/admin/")
    assert (page.status_code, page.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert "busy or not there" in page.content.decode()
    assert CANARY not in page.content.decode()


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (lambda c, h: c.get("/api/v1/teams", headers=h, HTTP_HOST="evil.example"), 400),
        (lambda c, h: c.put("/api/v1/teams", "{}", headers=h, content_type="application/json"), 405),
        (lambda c, h: c.generic("BREW", "/api/v1/teams", headers=h), 405),
        (lambda c, h: c.post("/api/v1/teams", "{", headers=h, content_type="application/json"), 400),
        (lambda c, h: c.post("/api/v1/teams", b"\xff\xfe", headers=h, content_type="application/json"), 400),
        (lambda c, h: c.post("/api/v1/teams", "[" * 100_000, headers=h, content_type="application/json"), 400),
        (lambda c, h: c.post("/api/v1/teams", "[]", headers=h, content_type="application/json"), 422),
        (lambda c, h: c.post("/api/v1/teams", "<a/>", headers=h, content_type="application/xml"), 415),
        (lambda c, h: c.post("/api/v1/teams", "x=1", headers=h, content_type="multipart/form-data"), 415),
        (lambda c, h: c.get("/api/v1/teams", headers=h | {"Accept": "application/xml"}), 406),
        (lambda c, h: c.get("/api/v1/openapi.yaml", headers=h | {"Accept": "image/png"}), 406),
        (lambda c, h: c.get("/api/v1/teams?format=xml", headers=h), 400),
        (lambda c, h: c.get("/api/v1/teams/team_1?colour=red", headers=h), 400),
        (lambda c, h: c.get("/api/v1/teams/a b", headers=h), 404),
        (lambda c, h: c.get("/api/v1/teams/%00", headers=h), 404),
    ],
)  # fmt: skip
def test_what_cannot_be_answered(api: Api, ask: Callable[[Client, dict[str, str]], Any], status: int):
    is_problem(ask(Client(raise_request_exception=False), api.headers), status)


def test_a_page_of_the_admin_says_which_request_it_was(
    debug: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    from controlplane.console.site import site

    def fails(*_: Any) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(site, "has_permission", fails)
    answer = Client(raise_request_exception=False).get("/admin/")
    assert answer.status_code == 500
    if not debug:  # Django's page for developers otherwise
        assert answer.headers["X-Langwatch-Request-Id"] in answer.content.decode()
        assert CANARY not in answer.content.decode()
    assert any(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)


def test_a_clients_own_id_comes_back_beside_ours():
    answer = Client().get("/healthz", headers={"X-Request-Id": "mine-1"})
    assert answer.headers["X-Request-Id"] == "mine-1"
    assert answer.headers["X-Langwatch-Request-Id"].startswith("call_")
    for nonsense in ("", "with blanks", "x" * 129):
        assert "X-Request-Id" not in Client().get("/healthz", headers={"X-Request-Id": nonsense}).headers


def test_the_root_leads_to_the_admin():
    answer = Client().get("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")


def test_ready_is_who_has_a_database_with_every_migration(monkeypatch: pytest.MonkeyPatch):
    from controlplane.web import probes

    assert Client().get("/readyz").json() == {"status": "ready"}
    probes._migrated.clear()
    monkeypatch.setattr(probes, "needed", lambda: needed() | {("keys", "9999_later")})
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["because"]) == (
        503, "The database lacks migrations: run manage.py migrate.",
    )  # fmt: skip
    assert "9999" not in answer.content.decode()


@pytest.mark.parametrize(
    "asked_by",
    [
        {"REMOTE_ADDR": "192.0.2.7"},
        {"REMOTE_ADDR": "not an address"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.7"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_PROTO": "https"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_VIA": "1.1 proxy"},
    ],
)
def test_metrics_are_shown_to_this_machine_only(client: Client, asked_by: dict[str, Any]):
    assert b"aigateway_web_requests_total" in client.get("/metrics", REMOTE_ADDR="::1").content
    refused = client.get("/metrics", **asked_by)
    assert refused.status_code == 404
    assert b"aigateway_web" not in refused.content
