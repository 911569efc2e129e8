"""Pods that only watch, in a process of their own: they say what they hold, acknowledge, and note when news came.

    python -m tests.bench.fleet_crowd TARGET PKI_DIRECTORY COUNT EPOCH REVISION DIGEST

prints `{"welcomed": COUNT}` once all are connected, then a line for each revision that has reached every one of them:
`{"revision": …, "at_us": […]}`, microseconds on CLOCK_MONOTONIC.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvloop

from protos import fleet_pb2 as pb
from tests.bench.fleet_wire import Call

WATCH = "/aigateway.fleet.v1.Fleet/Watch"
HANDSHAKES = 25  # at once
MESSAGE_BYTES = 4 << 20
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection each, as real pods have
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
)


def credentials(pki: Path, name: str) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=(pki / "ca.pem").read_bytes(),
        private_key=(pki / f"{name}.key").read_bytes(),
        certificate_chain=(pki / f"{name}.pem").read_bytes(),
    )


def watch(channel: grpc.aio.Channel) -> Any:
    """A Watch whose messages come as they were sent."""
    serialize = pb.PodMessage.SerializeToString
    method: Any = channel.stream_stream(WATCH, request_serializer=serialize, response_deserializer=bytes)
    return method()


class Crowd:
    """`held`: what every pod says that it has, but for its own name."""

    def __init__(self, target: str, identity: ssl.SSLContext, count: int, held: pb.Hello) -> None:
        self.target, self.identity, self.count, self.held = target, identity, count, held
        self.handshakes = asyncio.Semaphore(HANDSHAKES)
        self.welcomed = 0
        self.heard: defaultdict[int, list[int]] = defaultdict(list)

    async def pod(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        host, _, port = self.target.rpartition(":")
        welcome: asyncio.Future[pb.Welcome] = loop.create_future()

        def heard(raw: bytes) -> None:
            at_us = time.monotonic_ns() // 1000
            message = pb.FleetMessage.FromString(raw)
            match message.WhichOneof("message"):
                case "welcome":
                    welcome.set_result(message.welcome)
                case "update" if message.update.last:
                    call.say(pb.PodMessage(ack=pb.Ack(revision=message.update.revision)).SerializeToString())
                    self.note(message.update.revision, at_us)

        hello = pb.Hello()
        hello.CopyFrom(self.held)
        hello.pod_id = hello.session_id = f"bench-{self.held.name}-{number}"
        async with self.handshakes:
            _, call = await loop.create_connection(
                lambda: Call(self.target, WATCH, heard), host, int(port), ssl=self.identity
            )
            call.say(pb.PodMessage(hello=hello).SerializeToString())
            every_s = (await welcome).heartbeat_ms / 1000
        self.welcomed += 1
        if self.welcomed == self.count:
            print(json.dumps({"welcomed": self.count}), flush=True)
        loop.call_later(every_s * number / self.count, self.beat, call, every_s, 1)  # not all in the same moment
        raise RuntimeError(await call.ended)

    def note(self, revision: int, at_us: int) -> None:
        self.heard[revision].append(at_us)
        if len(self.heard[revision]) == self.count:
            print(json.dumps({"revision": revision, "at_us": self.heard.pop(revision)}), flush=True)

    def beat(self, call: Call, every_s: float, seq: int) -> None:
        heartbeat = pb.Heartbeat(seq=seq, status=pb.PodStatus(state="ready"))
        call.say(pb.PodMessage(heartbeat=heartbeat).SerializeToString())
        asyncio.get_running_loop().call_later(every_s, self.beat, call, every_s, seq + 1)


async def main() -> None:
    target, pki, count, epoch, revision, digest = sys.argv[1:]
    name = next(Path(pki).glob("pod-*.pem")).stem
    identity = ssl.create_default_context(cafile=Path(pki) / "ca.pem")
    identity.load_cert_chain(Path(pki) / f"{name}.pem", Path(pki) / f"{name}.key")
    identity.set_alpn_protocols(["h2"])
    held = pb.Hello(
        version="bench",
        name=f"crowd-{time.monotonic_ns()}",
        epoch=epoch,
        revision=int(revision),
        digest=bytes.fromhex(digest),
    )
    crowd = Crowd(target, identity, int(count), held)
    async with asyncio.TaskGroup() as pods:
        for number in range(crowd.count):
            pods.create_task(crowd.pod(number))


if __name__ == "__main__":
    uvloop.run(main())
