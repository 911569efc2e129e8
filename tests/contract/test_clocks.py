"""A pod whose wall clock is set while it runs does as all others do, and says so."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.contract.house import House, eventually
from tests.contract.requests import ask, send
from tests.contract.storms import DOLLAR, budget_of, token_of

pytestmark = [pytest.mark.processes, pytest.mark.slow]

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
LIVES_S = 12


class Wall:
    """The wall clock of every pod that was started with `settings`."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "off_by"
        self._shim = directory / "stepped_clock.so"
        self.set(0)
        source = Path(__file__).with_name("stepped_clock.c")
        subprocess.run([str(COMPILER), "-shared", "-fPIC", "-O1", "-o", self._shim, source, "-ldl"], check=True)

    @property
    def settings(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._shim), "WALL_CLOCK_OFF_BY": str(self._file)}

    def set(self, off_by_s: int) -> None:
        """In place: the pods have the file mapped."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", off_by_s))


def status(house: House, token: str) -> int:
    with house.gateway(0, key=token) as client:
        return send(client, ask("anthropic_messages", streaming=False)).status_code


def works(house: House, token: str) -> bool:
    return status(house, token) == 200


def tells(house: House, off_by_s: int) -> bool:
    """Whether the fleet page has it."""
    return abs(int(pod_row(house)["clock_ahead_ms"]) - off_by_s * 1000) < 1_000


def pod_row(house: House) -> dict[str, Any]:
    with house.api() as api:
        (row,) = api.get("fleet/pods").json()["data"]
    return dict(row)


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler (Debian package gcc)")
def test_a_wall_clock_that_is_set_changes_nothing_but_an_alarm(
    build_house: Callable[..., House], tmp_path: Path
) -> None:
    wall = Wall(tmp_path)
    house = build_house(pods=1, pod_settings=wall.settings)
    begins, expires_at = time.time(), datetime.now(UTC) + timedelta(seconds=LIVES_S)
    lasting, ending = house.mint(), house.mint(expires_at=expires_at.isoformat())
    outliving = house.mint(expires_at=(expires_at + timedelta(seconds=300)).isoformat())
    budget = budget_of(house, lasting, DOLLAR, window="minute", outage="strict")
    tokens = [token_of(each) for each in (lasting, ending, outliving)]
    for token in tokens:
        eventually("the key works", partial(works, house, token))

    for off_by_s in (-600, 600):
        wall.set(off_by_s)
        assert status(house, tokens[0]) == 200
        assert status(house, tokens[2]) == 200
        time.sleep(max(0.0, expires_at.timestamp() + 0.1 - time.time()))
        assert status(house, tokens[1]) == 401
        eventually("the alarm", partial(tells, house, off_by_s))
    assert pod_row(house)["problem"] == ""

    with house.api() as api:
        accounts = api.get("budget-accounts", params={"budget_id": budget["id"]}).json()["data"]
    for account in accounts:
        starts_at = datetime.fromisoformat(account["starts_at"]).timestamp()
        assert begins - 60 <= starts_at <= time.time()
    records = eventually("the records", lambda: house.usage(key_id=outliving["id"]))
    for record in records:
        assert begins - 1 <= datetime.fromisoformat(record["started_at"]).timestamp() <= time.time()
