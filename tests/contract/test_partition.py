"""The bound that no network can break: cut off in any way, a pod admits nothing 60 s after a revocation."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator

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


def trickle(house: House, pod: int, token: str, begins_at: float, ends_at: float) -> int:
    """The status of one request whose body comes steadily, as slowly as is allowed, and is whole at `ends_at`."""
    request = ask("anthropic_messages", streaming=False)
    piece, pieces = b" " * 4096, round((ends_at - begins_at) / 2)
    fields = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **dict(request.headers)}
    fields["Content-Length"] = str(len(request.body) + pieces * len(piece))

    def body() -> Iterator[bytes]:
        for number in range(pieces):
            time.sleep(max(0.0, begins_at + 2 * number - time.monotonic()))
            yield piece
        time.sleep(max(0.0, ends_at - time.monotonic()))
        yield request.body

    time.sleep(max(0.0, begins_at - time.monotonic()))
    with house.gateway(pod, key=token) as client:
        return client.post(request.path, content=body(), headers=fields, timeout=120).status_code


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

    slow: dict[tuple[int, float], int] = {}

    def keep_sending(pod: int, begins_s: float) -> None:
        ends_at = revoked_at + PROMISE_S + 1
        with contextlib.suppress(httpx.HTTPError):  # the pod may answer, and hang up, before the body is whole
            slow[pod, begins_s] = trickle(house, pod, token, revoked_at + begins_s, ends_at)

    threads = [threading.Thread(target=keep_trying, args=(pod,)) for pod in (CONNECTED, HOLE, DEAF, MUTE)]
    # Let in while the configuration still counts as fresh, and whole when the promise is due.
    threads += [
        threading.Thread(target=keep_sending, args=(pod, begins_s)) for pod in (HOLE, DEAF) for begins_s in (0.2, 34.0)
    ]
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

    assert slow == {(pod, begins_s): 503 for pod in (HOLE, DEAF) for begins_s in (0.2, 34.0)}
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
