"""The test button, against a real HTTP server: what is sent, what is not followed, the words for what comes back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone

from controlplane import environment as env
from controlplane.changes.models import AuditEvent, ConfigChange
from controlplane.changes.queries import head
from controlplane.providers import actions, probe
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Role
from controlplane.tenancy.permissions import Forbidden
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind
from tests.controlplane import factories

SYSTEM = factories.SYSTEM
CREDENTIAL = "sk-canary-0123456789abcdef"


class Upstream(ThreadingHTTPServer):
    """Answers `status` and `headers` to whatever comes, and remembers it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status, self.body = 200, b'{"data": []}'
        self.extra: dict[str, str] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Upstream

    def do_GET(self) -> None:
        self.server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(self.server.status)
        for name, value in self.server.extra.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def upstream(monkeypatch) -> Iterator[Upstream]:
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_PROVIDERS", "true")
    env.environment.cache_clear()
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    monkeypatch.undo()
    env.environment.cache_clear()


def provider(upstream: Upstream, kind: ProviderKind = ProviderKind.OPENAI_COMPATIBLE, path: str = "", **fields):
    return factories.provider(kind=kind, base_url=upstream.url + path, credential=Secret(CREDENTIAL), **fields)


@pytest.mark.parametrize(
    ("kind", "path", "asked", "header", "value"),
    [
        (ProviderKind.OPENAI, "", "/v1/models", "authorization", f"Bearer {CREDENTIAL}"),
        (ProviderKind.OPENAI_COMPATIBLE, "/api/v1", "/api/v1/models", "authorization", f"Bearer {CREDENTIAL}"),
        (ProviderKind.ANTHROPIC, "", "/v1/models?limit=1", "x-api-key", CREDENTIAL),
        (ProviderKind.ANTHROPIC_COMPATIBLE, "/x/v1", "/x/v1/models", "x-api-key", CREDENTIAL),
        (ProviderKind.GEMINI, "", "/v1beta/models?pageSize=1", "x-goog-api-key", CREDENTIAL),
        (ProviderKind.GEMINI, "/v1beta", "/v1beta/models?pageSize=1", "x-goog-api-key", CREDENTIAL),
    ],
)
def test_each_kind_is_asked_for_its_models_in_its_own_way(db, upstream, kind, path, asked, header, value):
    outcome = actions.test_provider(provider(upstream, kind, path), by=SYSTEM)
    assert (outcome.ok, outcome.message) == (True, "The provider answers and accepts the credential.")
    [(seen, headers)] = upstream.seen
    assert seen == asked
    assert headers[header] == value
    assert headers["host"] == f"127.0.0.1:{upstream.server_port}"


def test_azure_is_asked_with_its_api_version(db, upstream):
    row = provider(upstream, ProviderKind.AZURE_OPENAI, deployments={"gpt": "d"}, api_version="2025-01-01-preview")
    assert actions.test_provider(row, by=SYSTEM).ok
    [(seen, headers)] = upstream.seen
    assert seen == "/openai/models?api-version=2025-01-01-preview"
    assert headers["api-key"] == CREDENTIAL


@pytest.mark.parametrize(
    ("status", "ok", "words"),
    [
        (401, False, "refuses the credential"),
        (402, False, "cannot pay"),
        (403, False, "permissions"),
        (404, False, "check the base URL"),
        (429, True, "limiting it right now"),
        (500, False, "a problem of its own"),
        (529, False, "a problem of its own"),
        (418, False, "418"),
    ],
)
def test_what_comes_back_is_said_in_words_and_kept(db, upstream, status, ok, words):
    row = provider(upstream)
    upstream.status = status
    before = head().revision
    outcome = actions.test_provider(row, by=SYSTEM)
    assert outcome.ok is ok
    assert words in outcome.message
    row.refresh_from_db()
    assert (row.last_test_ok, row.last_test_message) == (ok, outcome.message)
    assert row.last_test_at is not None
    assert row.last_test_ms == outcome.elapsed_ms
    assert head().revision == before
    assert not ConfigChange.objects.filter(revision__gt=before).exists()
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.details["ok"]) == ("provider.tested", ok)


@pytest.mark.parametrize(("status", "mended"), [(200, True), (429, True), (401, False), (500, False)])
def test_a_test_that_passes_ends_a_refusal_and_one_that_fails_does_not(db, upstream, status, mended):
    row = provider(upstream)
    since = timezone.now()
    Provider.objects.filter(pk=row.pk).update(refused_since=since, last_error="401", last_error_at=since)
    row.refresh_from_db()
    upstream.status = status
    actions.test_provider(row, by=SYSTEM)
    row.refresh_from_db()
    if mended:
        assert (row.refused_since, row.last_error, row.last_error_at) == (None, "", None)
        assert row.mended_at == row.last_test_at
    else:
        assert (row.refused_since, row.last_error, row.last_error_at) == (since, "401", since)


def test_a_wrong_key_of_gemini_is_a_400_and_said_to_be_the_key(db, upstream):
    upstream.status = 400
    outcome = actions.test_provider(provider(upstream, ProviderKind.GEMINI), by=SYSTEM)
    assert (outcome.ok, "the API key is wrong" in outcome.message) == (False, True)
    assert "check kind and base URL" in actions.test_provider(provider(upstream), by=SYSTEM).message


def test_a_redirect_is_not_followed_and_the_credential_goes_nowhere_else(db, upstream):
    row = provider(upstream)
    upstream.status, upstream.extra = 302, {"location": f"{upstream.url}/elsewhere"}
    outcome = actions.test_provider(row, by=SYSTEM)
    assert not outcome.ok
    assert "redirects elsewhere" in outcome.message
    assert [path for path, _ in upstream.seen] == ["/v1/models"]


def test_an_endless_answer_is_not_read_to_its_end(db, upstream):
    upstream.body = b"x" * (8 * 1024 * 1024)
    assert actions.test_provider(provider(upstream), by=SYSTEM).ok


def test_nobody_there_is_said_in_words(db, upstream):
    row = provider(upstream)
    upstream.shutdown()
    upstream.server_close()
    outcome = probe.probe(row)
    assert not outcome.ok
    assert "could not be reached" in outcome.message


def test_the_address_that_was_checked_is_the_one_connected_to(db, upstream, monkeypatch):
    """A name that changes its mind after the check changes nothing: it is asked for once."""
    row = provider(upstream)
    row.base_url = f"http://rebinding.example:{upstream.server_port}"
    answers = iter(["127.0.0.1", "169.254.169.254"])
    real = socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        return real(next(answers) if host == "rebinding.example" else host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert probe.probe(row).ok
    [(_, headers)] = upstream.seen
    assert headers["host"] == f"rebinding.example:{upstream.server_port}"
    assert next(answers) == "169.254.169.254"


def test_an_address_that_is_no_longer_allowed_is_not_connected_to(db, upstream, monkeypatch):
    row = provider(upstream)
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_PROVIDERS", "false")
    env.environment.cache_clear()
    outcome = probe.probe(row)
    assert not outcome.ok
    assert "The base URL cannot be used" in outcome.message
    assert upstream.seen == []


def test_a_proxy_of_the_environment_is_not_used(db, upstream, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert probe.probe(provider(upstream)).ok


def test_the_credential_is_in_no_outcome(db, upstream):
    upstream.status, upstream.body = 401, CREDENTIAL.encode()
    outcome = actions.test_provider(provider(upstream), by=SYSTEM)
    assert CREDENTIAL not in outcome.message
    assert CREDENTIAL not in str(list(AuditEvent.objects.values()))


def test_a_viewer_cannot_test(db, upstream):
    row = provider(upstream)
    viewer, _ = factories.member(row.organization, Role.VIEWER)
    with pytest.raises(Forbidden):
        actions.test_provider(row, by=viewer)
    assert upstream.seen == []
