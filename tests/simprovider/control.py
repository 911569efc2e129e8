"""The control API under `/_sim/`: scripts, gates, keys, records. Never reached through a gateway, only directly."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.simprovider.record import Recorded
from tests.simprovider.script import Queued, from_mapping
from tests.simprovider.simulator import Simulator
from tests.simprovider.wire import Connection, Request

MOST_LISTED = 5_000


async def control(simulator: Simulator, request: Request, wire: Connection) -> None:
    """Answers one control request, with JSON unless a body was asked for."""
    try:
        status, found = await _do(simulator, request)
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as problem:
        status, found = 400, {"error": f"{type(problem).__name__}: {problem}"}
    raw = isinstance(found, bytes)
    body = found if isinstance(found, bytes) else msgspec.json.encode(found)
    media = "application/octet-stream" if raw else "application/json"
    head = f"HTTP/1.1 {status} .\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\n\r\n"
    await wire.write(head.encode() + body)


async def _do(simulator: Simulator, request: Request) -> tuple[int, Any]:
    body = msgspec.json.decode(request.body) if request.body else {}
    match request.method, request.path.removeprefix("/_sim").strip("/").split("/"):
        case "GET", ["health" | ""]:
            return 200, {"status": "ok", "requests": len(simulator.requests), "held": simulator.held}
        case "POST", ["script"]:
            for item in body if isinstance(body, list) else [body]:
                queued = msgspec.convert(item if "script" in item else {"script": item}, Queued)
                from_mapping(queued.script)
                simulator.queue.append(queued)
            return 200, {"waiting": len(simulator.queue)}
        case "DELETE", ["script"]:
            simulator.queue.clear()
            return 200, {}
        case "POST", ["release"]:
            simulator.release(body["name"])
            return 200, {}
        case "POST", ["keys"]:
            simulator.keys = {str(vendor): str(key) for vendor, key in body.items()}
            return 200, {}
        case "POST", ["reset"]:
            simulator.reset()
            return 200, {}
        case "GET", ["totals"]:
            return 200, simulator.totals()
        case "GET", ["wait"]:
            return 200, {"reached": await _wait(simulator, request.query)}
        case "GET", ["requests"]:
            since, path = int(request.query.get("since", 0)), request.query.get("path", "")
            found = [record.facts() for record in simulator.requests if record.number > since and path in record.path]
            return 200, found[-MOST_LISTED:]
        case "GET", ["requests", number, *rest]:
            return _one(simulator, int(number), rest)
    return 404, {"error": "no such control; see tests/simprovider/README.md"}


async def _wait(simulator: Simulator, query: dict[str, str]) -> bool:
    """`held=name&count=n`, `requests=n` or `finished=n`; at most `timeout` seconds."""
    timeout = float(query.get("timeout", 10))
    if "held" in query:
        name, wanted = query["held"], int(query.get("count", 1))
        return await simulator.until(lambda: simulator.held.get(name, 0) >= wanted, timeout)
    if "finished" in query:
        return await simulator.until(lambda: simulator.finished >= int(query["finished"]), timeout)
    return await simulator.until(lambda: len(simulator.requests) >= int(query["requests"]), timeout)


def _one(simulator: Simulator, number: int, rest: list[str]) -> tuple[int, Any]:
    record: Recorded | None = next((each for each in simulator.requests if each.number == number), None)
    if record is None:
        return 404, {"error": f"no record {number}"}
    match rest:
        case ["body"]:
            return 200, record.body
        case ["response"]:
            return 200, bytes(record.sent)
        case _:
            return 200, record.facts()
