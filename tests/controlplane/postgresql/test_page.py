"""The page about the database says what the code does."""

from __future__ import annotations

import pytest

from controlplane import connections
from controlplane.budgets import statements
from controlplane.environment import REPOSITORY, Environment
from controlplane.fleet import database
from controlplane.fleet.calls import hold_writer
from controlplane.fleet.state import notify
from controlplane.postgresql import waits
from controlplane.web import deadline

PAGE = (REPOSITORY / "deploy" / "reference" / "database.md").read_text()
DEFAULTS = {name: field.default for name, field in Environment.model_fields.items()}


@pytest.mark.parametrize(
    "words",
    [
        f"`AIGATEWAY_DATABASE_WAIT_S` ({DEFAULTS['database_wait_s']:g} s)",
        f"`AIGATEWAY_STATEMENT_TIMEOUT_MS` ({DEFAULTS['statement_timeout_ms'] / 1000:g} s)",
        f"| {database.CONNECTION_S:g} s | {connections.CONNECTION_S:g} s |",
        f"| {database.LOCK_S:g} s; answers to pods {statements.LOCK_MS / 1000:g} s",
        f"{deadline.STATEMENT_S:g} s, at most what is left of a request's {deadline.ANSWER_S:g} s"
        f" | {database.STATEMENT_S:g} s |",
        f"{waits.GRACE_S:g} s more; answers to pods {hold_writer.GIVE_UP_S:g} s",
        f"has {waits.CHECK_S:g} s to answer",
        " ".join(f"{name}={value}" for name, value in waits.NETWORK.items()),
    ],
)
def test_a_figure_of_the_page_is_the_codes(words: str):
    assert words in PAGE


def test_whoever_serves_pods_and_people_is_back_within_thirty_seconds():
    """The longest wait that can have begun on a dead connection, and then a new one is made."""
    for statement_s in (deadline.STATEMENT_S, database.STATEMENT_S, DEFAULTS["statement_timeout_ms"] / 1000):
        again = waits.Waits(int(statement_s * 1000)).answer_s + waits.CHECK_S
        assert again <= 30
    assert notify.QUIET_S + waits.CHECK_S + notify.RECONNECT_S <= 30
