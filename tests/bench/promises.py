"""How fast the promises are kept: revocation to the last stream, mint to the first answer, a wrong key's cost.

`python -m tests.bench.promises`: three pods, 200 running streams; prints percentiles, ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from tests.bench.accounting import Tree
from tests.contract.house import House, open_house
from tests.contract.requests import ask, send
from tests.contract.streams import Streams

PODS = 3
STREAMS = 200


async def revocation(house: House) -> float:
    """Seconds from before the revoking POST leaves to the last byte of the last stream on any pod."""
    minted = house.mint()
    loop = asyncio.get_running_loop()
    asked = ask("anthropic_messages", streaming=True, text="Talk for a long time.")
    pace = {"x_sim_events": "100000", "x_sim_interval_ms": "200"}
    async with Streams(house.layout.gateway_urls, minted["token"], asked, STREAMS, **pace) as streams:
        await streams.running()
        started = loop.time()
        await asyncio.to_thread(house.post, f"virtual-keys/{minted['id']}/revoke")
        await streams.ended()
        assert all(b"virtual_key_revoked" in watched.content for watched in streams.watched)
        return max(watched.ended_at for watched in streams.watched) - started


def first_answer(house: House, pod: int) -> float:
    """Seconds from the minting POST's answer to the first answer that the new key gets."""
    minted = house.mint()
    with house.gateway(pod, key=minted["token"]) as client:
        started = time.monotonic()
        answer = send(client, ask("openai_chat", streaming=False))
        assert answer.status_code == 200, answer.text
        return time.monotonic() - started


def cost(house: House, key: str, status: int, count: int = 1000) -> float:
    """CPU microseconds of a pod per request with this key."""
    process = house.pods[0].process
    assert process is not None
    tree = Tree(process.pid)
    asked = ask("openai_chat", streaming=False)
    with house.gateway(0, key=key) as client:
        before = tree.cpu_s()
        for _ in range(count):
            assert send(client, asked).status_code == status
        return 1e6 * (tree.cpu_s() - before) / count


def line(name: str, seconds: list[float]) -> str:
    ordered = sorted(1000 * each for each in seconds)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    middle, longest = statistics.median(ordered), ordered[-1]
    return f"{name:48} n={len(ordered)} p50 {middle:.0f} ms, p99 {p99:.0f} ms, max {longest:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--database-url", default="", help="PostgreSQL; default SQLite, which the fleet polls")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aigw-promises-") as scratch:
        house = open_house(Path(scratch) / "house", pods=PODS, database_url=options.database_url)
        try:
            revoked = [asyncio.run(revocation(house)) for _ in range(options.rounds)]
            print(line(f"revoke → last of {STREAMS} streams on {PODS} pods cut", revoked))
            minted = [first_answer(house, number % PODS) for number in range(5 * options.rounds)]
            print(line("mint → first answer", minted))
            served = cost(house, house.virtual_key, 200)
            malformed = cost(house, house.virtual_key[:-1] + "!", 401)
            print(f"pod CPU: served {served:.0f} µs, malformed key {malformed:.0f} µs per request")
        finally:
            house.close()


if __name__ == "__main__":
    try:
        main()
    except httpx.HTTPError as problem:
        raise SystemExit(f"the house did not answer: {type(problem).__name__}") from problem
