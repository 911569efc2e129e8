"""What every test shares: no timing assertions, no midnight in the middle, and a PostgreSQL server for whoever asks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")


# A file is one worker's, and with these begun last the other workers would wait for it at the end.
LONGEST = (
    "tests/contract/test_kill.py",
    "tests/contract/test_budget_storms.py",
    "tests/contract/test_partition.py",
    "tests/contract/test_dead_database.py",
    "tests/contract/test_absurd_usage.py",
    "tests/contract/test_hostile_provider.py",
    "tests/journeys/test_demo.py",
    "tests/contract/test_revocation.py",
    "tests/journeys/test_restore.py",
    "tests/controlplane/alerts/test_process.py",
    "tests/contract/test_refused.py",
    "tests/papers/test_recipes.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Among several workers the longest files begin first, then those with most tests."""
    if not hasattr(config, "workerinput"):
        return
    files = [item.nodeid.partition("::")[0] for item in items]
    tests, place = Counter(files), {file: number for number, file in enumerate(dict.fromkeys(files))}
    order = {file: LONGEST.index(file) if file in LONGEST else len(LONGEST) for file in place}
    by_file = dict(zip(items, files, strict=True))
    items.sort(key=lambda item: (order[by_file[item]], -tests[by_file[item]], place[by_file[item]]))


# At the end of a UTC day, week or month what a budget has spent and what alerts are about begin anew.
DAY_S = 24 * 60 * 60
ROOM_S = {"processes": 180.0, "browser": 90.0, "clients": 90.0}  # by mark; more than the longest test of each takes
LEAST_ROOM_S = 20.0


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that goes by the machine's clock begins when it has room before midnight in UTC, or just after that."""
    left = DAY_S - time.time() % DAY_S
    if left < max((ROOM_S.get(mark.name, 0.0) for mark in item.iter_markers()), default=0.0) or left < LEAST_ROOM_S:
        time.sleep(left)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server of the session's own, for tests that start real processes. Skips loudly where there is none."""
    from tests.postgres import own_server

    with own_server() as server:
        yield server.url()
