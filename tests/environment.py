"""The tests' environment, set before Django's settings are read: loaded by `-p tests.environment` in pyproject.toml.

`--database=postgres` starts a server (or uses AIGATEWAY_TEST_DATABASE_URL); the default is SQLite in a temporary
directory. Under xdist the first process decides, and its workers inherit the variables.
"""

from __future__ import annotations

import atexit
import base64
import os
import secrets
import shutil
import tempfile
from collections.abc import Generator

import pytest

from tests.postgres import Server

_server: Server | None = None
_directory = ""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgres"),
        default="sqlite",
        help="which database the control plane's tests use",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """A wrapper, so that it comes before pytest-django reads the settings."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _prepare(early_config.known_args_namespace.database)
    yield


def _prepare(database: str) -> None:
    global _directory
    _directory = tempfile.mkdtemp(prefix="aigateway-test-")
    atexit.register(_clean_up)
    for name in [
        name for name in os.environ if name.startswith("AIGATEWAY_") and not name.startswith("AIGATEWAY_TEST_")
    ]:
        del os.environ[name]
    # Tests speak gRPC and start processes. gRPC's own care for forks revives its threads in the child, where their
    # descriptors are closed before the program begins: now and then that ends it.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    os.environ["AIGATEWAY_VAR_DIR"] = _directory
    os.environ["AIGATEWAY_SECRET_KEY"] = secrets.token_urlsafe(48)
    os.environ["AIGATEWAY_ROOT_KEYS"] = f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    os.environ["AIGATEWAY_PEPPERS"] = f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    os.environ["AIGATEWAY_BROKER_URL"] = "memory://"
    os.environ["AIGATEWAY_ALLOWED_HOSTS"] = "127.0.0.1,localhost,testserver"
    os.environ["AIGATEWAY_HTTPS"] = "off"
    os.environ["AIGATEWAY_TEST_DATABASE_MISSING"] = ""
    os.environ["DATABASE_URL"] = f"sqlite:///{_directory}/database.sqlite3"
    if database == "postgres":
        _prepare_postgres()


def _prepare_postgres() -> None:
    global _server
    given = os.environ.get("AIGATEWAY_TEST_DATABASE_URL")
    if given:
        os.environ["DATABASE_URL"] = given
        return
    try:
        _server = Server.start()
    except Exception as error:
        if os.environ.get("CI") == "true":
            raise pytest.UsageError(f"--database=postgres: {error}") from error
        os.environ["AIGATEWAY_TEST_DATABASE_MISSING"] = str(error)
        return
    os.environ["DATABASE_URL"] = _server.url()


def pytest_report_header(config: pytest.Config) -> str:
    missing = os.environ.get("AIGATEWAY_TEST_DATABASE_MISSING", "")
    return f"database: {config.getoption('--database')}" + (
        f" MISSING, its tests are skipped: {missing}" if missing else ""
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = os.environ.get("AIGATEWAY_TEST_DATABASE_MISSING", "")
    if missing:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"PostgreSQL is missing: {missing}"))


def _clean_up() -> None:
    if _server is not None:
        _server.stop()
    shutil.rmtree(_directory, ignore_errors=True)
