"""The bound that no network can break: cut off in any way, a pod admits nothing 60 s after a revocation."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
import time
from collections.abc import Callable

import httpx
import pytest

from tests.contract.faults import Mode
from tests.contract.house import House, eventually
from tests.contract.requests import ask, send

pytestmark = [pytest.mark.processes, pytest.mark.slow]

PROMISE_S = 60.0
CONNECTED, HOLE, DEAF, MUTE, FROZEN = range(5)


def try_once(house: House, pod: int, token: str) -> int:
    """The status of one request; 0 when there was no answer."""
    with contextlib.suppress(httpx.HTTPError), house.gateway(pod, key=token) as client:
        return send(client, ask("anthropic_messages", streaming=False)).status_code
    return 0


def refused(house: House, pod: int, token: str) -> bool:
    return try_once(house, pod, token) == 401


def test_no_pod_admits_a_revoked_key_after_sixty_seconds_however_it_was_cut_off(
    build_house: Callable[..., House],
) -> None:
    house = build_house(pods=5)
    minted = house.mint()
    token = minted["token"]
    for pod in range(5):
        assert try_once(house, pod, token) == 200

    for pod, mode in ((HOLE, Mode.HOLE), (DEAF, Mode.DEAF), (MUTE, Mode.MUTE)):
        house.links[pod].set(mode)
    house.pods[FROZEN].signal(signal.SIGSTOP)
    house.post(f"virtual-keys/{minted['id']}/revoke")
    revoked_at = time.monotonic()  # no earlier than the commit: the promise counts from before this
    last_admitted: dict[int, float] = {}
    statuses: dict[int, set[int]] = {pod: set() for pod in range(5)}

    def keep_trying(pod: int) -> None:
        while time.monotonic() < revoked_at + PROMISE_S + 3:
            sent_at = time.monotonic()
            status = try_once(house, pod, token)
            statuses[pod].add(status)
            if status == 200:
                last_admitted[pod] = sent_at - revoked_at
            time.sleep(0.1)

    threads = [threading.Thread(target=keep_trying, args=(pod,)) for pod in (CONNECTED, HOLE, DEAF, MUTE)]
    for thread in threads:
        thread.start()
    # Asked while frozen, answered after waking: the very first thing that the pod does with a stale configuration.
    time.sleep(PROMISE_S - 8)
    asked_frozen = threading.Thread(target=lambda: statuses[FROZEN].add(try_once(house, FROZEN, token)))
    asked_frozen.start()
    time.sleep(1)
    house.pods[FROZEN].signal(signal.SIGCONT)
    asked_frozen.join()
    for thread in threads:
        thread.join()

    assert statuses[FROZEN] <= {503, 401}, statuses
    for pod in (HOLE, DEAF):
        assert 503 in statuses[pod], f"pod {pod} never said that its configuration is stale: {statuses}"
    for pod in (CONNECTED, MUTE):
        assert 401 in statuses[pod], f"pod {pod} hears the control plane: {statuses}"
    for pod in (CONNECTED, HOLE, DEAF, MUTE):
        assert last_admitted.get(pod, 0.0) < PROMISE_S

    for pod in (HOLE, DEAF, MUTE):
        house.links[pod].set(Mode.PASS)
    for pod in range(5):
        eventually(f"pod {pod} knows of the revocation", functools.partial(refused, house, pod, token))
