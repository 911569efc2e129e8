"""What Django is told: no pending migrations, cookies and headers as a browser needs them, nothing around the ORM."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from controlplane.environment import REPOSITORY

OURS = REPOSITORY / "controlplane"


def test_models_and_migrations_agree(db):
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_the_probe_answers_without_login_and_with_the_browsers_rules(client, db):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    script = next(part for part in policy.split(";") if part.strip().startswith("script-src"))
    assert "unsafe-inline" not in script
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"


def test_another_host_name_is_refused(client, db):
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example"):
        assert client.get("/healthz", HTTP_HOST=host).status_code == 400


def test_nothing_is_pickled_and_passwords_are_stretched():
    assert settings.SESSION_SERIALIZER.endswith("JSONSerializer")
    assert settings.CELERY_ACCEPT_CONTENT == ["json"]
    assert settings.PASSWORD_HASHERS[0].endswith("ScryptPasswordHasher")
    assert settings.USE_TZ
    assert settings.TIME_ZONE == "UTC"


def _settings_under(tmp_path: Path, **variables: str) -> dict[str, object]:
    names = ["DEBUG", "SESSION_COOKIE_SECURE", "SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "SECURE_SSL_REDIRECT"]
    names.append("SECURE_HSTS_SECONDS")
    program = (
        f"import json; from django.conf import settings as s; print(json.dumps({{n: getattr(s, n) for n in {names}}}))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIGATEWAY_")}
    environment |= {"DJANGO_SETTINGS_MODULE": "controlplane.settings", "DATABASE_URL": f"sqlite:///{tmp_path}/x"}
    out = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found: dict[str, object] = json.loads(out)
    return found


def test_where_other_machines_come_cookies_are_bound_to_https(tmp_path):
    found = _settings_under(tmp_path, AIGATEWAY_ALLOWED_HOSTS="gateway.example.com")
    assert found == {
        "DEBUG": False,
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_NAME": "__Host-aigateway_session",
        "CSRF_COOKIE_NAME": "__Host-aigateway_csrf",
        "SECURE_SSL_REDIRECT": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
    }
    assert _settings_under(tmp_path)["SESSION_COOKIE_SECURE"] is False


def _offences(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names if alias.name.partition(".")[0] in BANNED_MODULES)
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in BANNED_MODULES:
                yield module
            case ast.Call(func=ast.Name("eval" | "exec" | "compile" | "__import__" as name)):
                yield f"{name}()"
            case ast.Call(func=ast.Attribute(attr="raw" | "extra" as name)):
                yield f".{name}()"
            case ast.Call(
                func=ast.Attribute(attr="execute"),
                args=[ast.JoinedStr() | ast.BinOp() | ast.Call(func=ast.Attribute(value=ast.Constant())), *_],
            ):
                yield f"SQL made from parts, line {node.lineno}"


# Names of tables are no parameters of a statement. This module makes tables, of names that are in the code.
MAKES_TABLES = OURS / "budgets" / "partitions.py"
BANNED_MODULES = {"pickle", "marshal", "shelve", "subprocess", "yaml"}


def test_no_module_goes_around_the_orm_or_runs_what_it_was_given():
    """No SQL built by hand, nothing evaluated, unpickled or spawned, no signal receivers that change rows unseen."""
    modules = [path for path in OURS.rglob("*.py") if path.parent.name != "migrations"]
    found = [(path, offence) for path in modules for offence in _offences(ast.parse(path.read_text()))]
    assert [each for each in found if each[0] != MAKES_TABLES or not each[1].startswith("SQL made from parts")] == []
    assert [path for path in modules if path.name == "signals.py"] == []


def test_the_search_for_offences_finds_them():
    text = "import pickle; from yaml import load; eval('1'); rows.raw('x'); c.execute(f'{x}'); c.execute('%s' % x)"
    assert len(list(_offences(ast.parse(text)))) == 6
