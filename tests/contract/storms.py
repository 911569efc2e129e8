"""Storms: two hundred streams at once on a two-dollar key while something breaks, each replayable by its seed.

One house serves many storms: every storm has a key and a budget of its own, and only what was killed is started again.
`python -m tests.contract.storms --seeds 50` runs all kinds of faults and prints seed, spend and verdict of each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dataplane.core.money.estimates import FIRST_GUESS
from tests.contract.conftest import fresh_database
from tests.contract.faults import Mode
from tests.contract.house import House, eventually, open_house
from tests.contract.requests import ask
from tests.postgres import Server

DOLLAR = 1_000_000_000
LIMIT = 2 * DOLLAR
STREAMS = 200
PODS = 3
STEP = 10_000_000  # the smallest extension of a hold
MODEL = "claude-sonnet-5-5"
STRICT_EVERY = 2  # of so many seeds one is of a strict budget, the others are of standard ones
CHARS_PER_TOKEN = 4  # as the simulator counts
COUNTED_MORE = 4 / 3.4  # a pod that was told no usage makes a token of 3.4 bytes
HELD_MORE = 1.5  # what is set aside for a request, times what requests cost on the average
EVENT_DOLLARS = 0.004  # what may be under way: two events and some


@dataclass(frozen=True, slots=True)
class Speed:
    """How an answer comes: tokens in all, tokens in one event, seconds between events."""

    tokens: int = 2_400
    at_once: int = 100
    pause_s: float = 0.2

    @property
    def headers(self) -> dict[str, str]:
        return {
            "x-sim-text-bytes": str(self.tokens * CHARS_PER_TOKEN),
            "x-sim-delta-chars": str(self.at_once * CHARS_PER_TOKEN),
            "x-sim-interval-ms": f"{self.pause_s * 1000:g}",
        }


@dataclass(frozen=True, slots=True)
class Rates:
    """Nano-dollars per token, found out by paying."""

    input: float
    output: float

    @classmethod
    def of(cls, house: House) -> Rates:
        def cost(**usage: int) -> int:
            with house.gateway() as client:
                asked = ask("anthropic_messages", streaming=False, text=secrets.token_hex(8), model=MODEL)
                headers = {"content-type": "application/json", "x-sim-usage": json.dumps(usage)}
                answer = client.post(asked.path, content=asked.body, headers=headers)
                assert answer.status_code == 200, answer.text
                request_id = answer.headers["x-langwatch-request-id"]

            return int(eventually("it is booked", lambda: house.booked(request_id))[0]["cost_nano"])

        # Answers as long as pods guess before they have seen any: what they set aside in a storm is what it was.
        short = cost(output=FIRST_GUESS)
        return cls((cost(input=10_000, output=FIRST_GUESS) - short) / 10_000, short / FIRST_GUESS)


@dataclass(slots=True)
class Watched:
    """What one client saw."""

    status: int = 0
    content: bytearray = field(default_factory=bytearray)
    problem: str = ""
    left: bool = False

    @property
    def whole(self) -> bool:
        return b"event: message_stop" in self.content

    @property
    def cut(self) -> bool:
        return self.status == 200 and (b"is used up" in self.content or b"cannot be checked" in self.content)


@dataclass(slots=True)
class Outcome:
    """`spent`: dollars, by what the simulator really sent; `booked`: as the budget says; `bound`: what may be."""

    fault: str
    seed: int
    rule: str
    spent: float
    booked: float
    reached: int
    watched: list[Watched]
    bound: float
    seconds: float
    alarms: float

    @property
    def live(self) -> int:
        return sum(each.status == 200 for each in self.watched)

    @property
    def statuses(self) -> Counter[int]:
        return Counter(each.status for each in self.watched if not each.problem and not each.left)

    @property
    def exact(self) -> bool:
        """Booked once each. A broken-off stream as the pod counts it; what the provider sent last no pod has seen."""
        early = EVENT_DOLLARS * sum(each.cut or each.left or bool(each.problem) for each in self.watched)
        return self.spent - early - 0.02 <= self.booked <= self.spent * COUNTED_MORE + 0.02

    @property
    def good(self) -> bool:
        """What a killed pod had not reported is booked later."""
        exact = self.fault == "pod" or self.exact
        return self.spent <= self.bound and exact and not self.alarms and set(self.statuses) <= {200, 402, 502, 503}

    def __str__(self) -> str:
        cut = sum(each.cut for each in self.watched)
        told = " ".join(f"{status}:{count}" for status, count in sorted(self.statuses.items()))
        verdict = "holds" if self.good else "BROKEN"
        return (
            f"{self.fault:<11} seed {self.seed:>3} {self.rule:<8} ${self.spent:.4f} of ${self.bound:.2f} "
            f"(booked ${self.booked:.4f})  "
            f"{self.reached:>3} reached the provider, {cut:>3} cut, {told}  {self.seconds:4.1f} s  {verdict}"
        )


# ---- what breaks -----------------------------------------------------------------------------------------------------


class Faults:
    """Each: what one seed does to a house while a storm blows."""

    def __init__(self, house: House, database: Server | None = None) -> None:
        self.house = house
        self.database = database

    async def nothing(self, chance: random.Random) -> None:
        """For comparison."""

    async def pod(self, chance: random.Random) -> None:
        for number in chance.sample(range(PODS), chance.choice((1, 1, 2))):
            await asyncio.sleep(chance.uniform(0.2, 1.5))
            self.house.kill(self.house.pods[number].name)
            self.house.revive(self.house.pods[number].name)

    async def fleet(self, chance: random.Random) -> None:
        for _ in range(chance.choice((1, 1, 2))):
            await asyncio.sleep(chance.uniform(0.1, 2.0))
            self.house.kill("fleet")
            self.house.revive("fleet")

    async def postgresql(self, chance: random.Random) -> None:
        assert self.database is not None
        for _ in range(chance.choice((1, 1, 2))):
            await asyncio.sleep(chance.uniform(0.1, 2.0))
            self.database.crash()

    async def connections(self, chance: random.Random) -> None:
        """Resets and holes between pods and the control plane, several, of random length."""
        for _ in range(chance.randrange(1, 5)):
            await asyncio.sleep(chance.uniform(0.05, 1.0))
            links = chance.sample(self.house.links, chance.randrange(1, PODS + 1))
            mode = chance.choice((Mode.REFUSE, Mode.HOLE, Mode.DEAF, Mode.MUTE))
            for link in links:
                link.set(mode)
            await asyncio.sleep(chance.choice((0.0, 0.2, 0.7, 1.5)))
            for link in links:
                link.set(Mode.PASS)


KINDS = ("pod", "fleet", "postgresql", "connections")


# ---- one storm -------------------------------------------------------------------------------------------------------


class Storms:
    """A house, its rates, and where its simulator's records of the last storm ended."""

    def __init__(self, house: House, database: Server | None = None) -> None:
        self.house = house
        self.rates = Rates.of(house)
        self._faults = Faults(house, database)

    def run(
        self, fault: str, seed: int, rule: str = "", speed: Speed = Speed(), leaving: float | None = None
    ) -> Outcome:
        """`rule`: the outage rule, by the seed unless said; `leaving`: share of the clients that hang up midway."""
        started = time.monotonic()
        chance = random.Random(f"{fault} {seed}")
        rule = rule or ("strict" if seed % STRICT_EVERY == 0 else "standard")
        leaving = leaving if leaving is not None else (0.2 if fault == "connections" and chance.random() < 0.5 else 0.0)
        key = self.house.mint()
        budget_of(self.house, key, outage=rule)
        token, marker = token_of(key), f"storm-{secrets.token_hex(6)}"
        everywhere(self.house, token)
        watched = asyncio.run(self._blow(token, marker, getattr(self._faults, fault), chance, speed, leaving))
        self._all_there()
        alarms = settle_down(self.house)
        spent, reached = spent_at_the_provider(self.house, marker, self.rates)
        live = sum(each.status == 200 for each in watched)
        booked = booked_by(self.house, token)
        bound = 2.5 if rule == "standard" else 2 + STEP / DOLLAR * live
        return Outcome(fault, seed, rule, spent, booked, reached, watched, bound, time.monotonic() - started, alarms)

    async def _blow(
        self,
        token: str,
        marker: str,
        fault: Callable[[random.Random], Awaitable[None]],
        chance: random.Random,
        speed: Speed,
        leaving: float,
    ) -> list[Watched]:
        watched = [Watched() for _ in range(STREAMS)]
        patience = [chance.uniform(0.1, 3.0) if chance.random() < leaving else 120.0 for _ in watched]
        urls = [urlsplit(url) for url in self.house.layout.gateway_urls]
        streams = [
            _stream(str(url.hostname), url.port or 80, _request(token, f"{marker} story {number}", speed), each, wait)
            for number, (each, wait) in enumerate(zip(watched, patience, strict=True))
            for url in (urls[number % len(urls)],)
        ]
        await asyncio.gather(fault(chance), *streams)
        return watched

    def trickle(self, requests: int = 360, per_second: float = 25.0) -> tuple[Counter[int], int]:
        """Short streams one after another until the budget is used up: how many ended with which status, and how many
        of the 402s came while a twentieth was left, what ran being counted with what is to be set aside for it.

        As many requests as cost more than the limit with what an outage allows beyond it: a busy machine has outages.
        """
        speed = Speed(tokens=800, at_once=200, pause_s=0.05)
        key = self.house.mint()
        budget_of(self.house, key)
        token = token_of(key)
        everywhere(self.house, token)
        cost = (speed.tokens * self.rates.output + 100 * self.rates.input) / LIMIT  # of the whole
        statuses: Counter[int] = Counter()
        running = wrongly = 0

        async def one(number: int) -> None:
            nonlocal running, wrongly
            url = urlsplit(self.house.layout.gateway_urls[number % PODS])
            request, watched = _request(token, f"trickle {number}", speed), Watched()
            running += 1
            used = (statuses[200] + HELD_MORE * running) * cost
            await _stream(str(url.hostname), url.port or 80, request, watched, 60.0)
            running -= 1
            statuses[watched.status] += 1
            wrongly += watched.status == 402 and used <= 0.95

        async def all_of_them() -> None:
            async with asyncio.TaskGroup() as tasks:
                for number in range(requests):
                    tasks.create_task(one(number))
                    await asyncio.sleep(1 / per_second)

        asyncio.run(all_of_them())
        settle_down(self.house)
        with self.house.simulator() as simulator:
            simulator.post("/_sim/reset")
        return statuses, wrongly

    def _all_there(self) -> None:
        for number, pod in enumerate(self.house.pods):
            if not pod.alive:
                self.house.revive(pod.name)
            self.house.await_ready(number)


def _request(token: str, text: str, speed: Speed) -> bytes:
    asked = ask("anthropic_messages", streaming=True, text=text, model=MODEL)
    fields = {
        "host": "gateway",
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "content-length": str(len(asked.body)),
        "connection": "close",
        **dict(asked.headers),
        **speed.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {asked.path} HTTP/1.1\r\n{head}\r\n".encode() + asked.body


async def _stream(host: str, port: int, request: bytes, watched: Watched, patience_s: float) -> None:
    """A client so plain that two hundred of them leave the machine to the pods."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(patience_s):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            watched.status = int(head[9:12])
            while piece := await reader.read(65536):
                watched.content += piece
    except TimeoutError:
        watched.left = True
    except (OSError, EOFError, ValueError) as problem:
        watched.problem = type(problem).__name__
    finally:
        if writer is not None:
            writer.transport.abort()


def budget_of(house: House, key: dict[str, Any], limit: int = LIMIT, **fields: Any) -> dict[str, Any]:
    id = key["virtual_key"]["id"] if "virtual_key" in key else key["id"]
    return house.post(
        "budgets",
        {
            "organization_id": house.report["organization_id"],
            "name": f"key {id}",
            "scope_kind": "virtual_key",
            "scope_id": id,
            "window": "month",
            "limit_nano": limit,
            **fields,
        },
    )


def token_of(key: dict[str, Any]) -> str:
    return str(key.get("token") or key.get("secret") or key["virtual_key_token"])


def everywhere(house: House, key: str) -> None:
    """The key and its budget are known to every pod."""
    for pod in range(PODS):

        def knows(pod: int = pod) -> bool:
            with house.gateway(pod, key) as client:
                answer = client.get("/v1/budget")
            return answer.status_code == 200 and len(answer.json()["data"]) > 0

        eventually(f"pod {pod} knows the budget", knows)


def spent_at_the_provider(house: House, marker: str, rates: Rates) -> tuple[float, int]:
    """Dollars, by what the simulator really sent to requests whose prompt holds the marker; and how many there were.
    Its records are forgotten."""
    with house.simulator() as simulator:
        records = [
            each
            for each in simulator.get("/_sim/requests").json()
            if each["operation"] == "messages" and marker in each["prompt"]
        ]
        simulator.post("/_sim/reset")
    total = 0.0
    for record in records:
        usage = record["usage"]
        output = usage["output"] if record["ended"] == "complete" else record["output_chars_sent"] / CHARS_PER_TOKEN
        total += (usage.get("input", 0) * rates.input + output * rates.output) / DOLLAR
    return total, len(records)


def settle_down(house: House) -> float:
    """Nothing runs any more, everything is booked. How often a pod's books did not add up."""
    alarms = 0.0

    def idle() -> bool:
        nonlocal alarms
        said = [house.metrics(pod) for pod in range(PODS)]
        alarms = sum(metric(text, "aigateway_budget_alarms_total") for text in said)
        return all("aigateway_budget_holds 0.0" in text and "aigateway_spool_records 0.0" in text for text in said)

    eventually("every pod has settled", idle)
    return alarms


def booked_by(house: House, token: str) -> float:
    """Dollars, as the engineer is told."""
    with house.gateway(0, token) as client:
        (said,) = client.get("/v1/budget").json()["data"]
    return (said["spent_nano"] or 0) / DOLLAR


def metric(text: str, name: str) -> float:
    """Of all children."""
    lines = (line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")))
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


# ---- many ------------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", nargs="*", default=KINDS, choices=("nothing", *KINDS))
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--rule", default="", choices=("", "standard", "strict"))
    parser.add_argument("--tokens-per-second", type=int, default=500, help="of each stream")
    parser.add_argument("--trickles", type=int, default=0, help="instead of storms")
    parser.add_argument("--sqlite", action="store_true", help="instead of PostgreSQL")
    asked = parser.parse_args(arguments)
    speed = Speed(pause_s=Speed().at_once / asked.tokens_per_second)
    broken = 0
    server = None if asked.sqlite else Server.start()
    with tempfile.TemporaryDirectory(prefix="storms-") as var:
        try:
            url = "" if server is None else fresh_database(server.url(), "storms")
            house = open_house(Path(var), pods=PODS, database_url=url)
            try:
                storms = Storms(house, server)
                print(f"a token of input costs {storms.rates.input}, of output {storms.rates.output} nano-dollars")
                for number in range(asked.trickles):
                    statuses, wrongly = storms.trickle()
                    broken += wrongly
                    print(f"trickle {number + 1}: {dict(statuses)}, {wrongly} refused wrongly", flush=True)
                for seed in range(asked.first, asked.first + (0 if asked.trickles else asked.seeds)):
                    for fault in asked.faults:
                        outcome = storms.run(fault, seed, asked.rule, speed)
                        broken += not outcome.good
                        print(outcome, flush=True)
                print(*_complaints(house), sep="\n", flush=True)
            finally:
                house.close()
        finally:
            if server is not None:
                server.stop()
    print(f"{broken} broken")
    return 1 if broken else 0


def _complaints(house: House) -> list[str]:
    """What processes said of books that do not add up."""
    return [
        f"{name}: {line}"
        for name, text in house.logs()
        for line in text.splitlines()
        if "do_not_add_up" in line or "budget_alarm" in line or "Traceback" in line
    ]


if __name__ == "__main__":
    sys.exit(main())
