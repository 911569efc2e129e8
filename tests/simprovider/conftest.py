"""One simulator for all tests of the simulator, forgetful between them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.simprovider import SimInThread


@pytest.fixture(scope="session")
def running_sim() -> Iterator[SimInThread]:
    with SimInThread() as sim:
        yield sim


@pytest.fixture
def sim(running_sim: SimInThread) -> SimInThread:
    running_sim.reset()
    return running_sim


@pytest.fixture
def http(sim: SimInThread) -> Iterator[httpx.Client]:
    headers = {"authorization": "Bearer any", "x-goog-api-key": "any", "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=sim.url, headers=headers, trust_env=False, timeout=60) as client:
        yield client
