"""`python -m tests.simprovider --port N`: prints one JSON line when it listens, ends on SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys

import uvloop

from tests.simprovider.serve import SimServer
from tests.simprovider.simulator import Simulator


async def main(host: str, port: int, keys: dict[str, str]) -> None:
    server = SimServer(Simulator(keys))
    await server.start(host, port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    print(
        json.dumps({"event": "simprovider_listening", "url": server.url, "port": server.port, "pid": os.getpid()}),
        flush=True,
    )
    await stop.wait()
    server.simulator.reset()
    await server.stop()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simprovider", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="VENDOR=KEY",
        help="the credential that VENDOR expects; default: any",
    )
    return parser.parse_args()


if __name__ == "__main__":
    given = arguments()
    try:
        expected = dict(pair.split("=", 1) for pair in given.key)
    except ValueError:
        sys.exit("--key wants VENDOR=KEY")
    uvloop.run(main(given.host, given.port, expected))
