"""Connections to the fleet: mTLS, one at a time, never shared with a failed one's back-off."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from dataplane.wire.updates import Incoming
from protos import fleet_pb2 as pb

MESSAGE_BYTES: Final = 4 * 1024 * 1024  # gRPC's own default, said aloud: flat messages, large updates come in parts
SERVICE: Final = "/aigateway.fleet.v1.Fleet/"

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel inherits the back-off of the last one, up to 120 s
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),  # HTTPS_PROXY is for the internet
    ("grpc.keepalive_time_ms", 20_000),  # heartbeats notice a dead peer in 4 s; this is for Report
    ("grpc.keepalive_timeout_ms", 5_000),
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of the pod's side; read at every connection, so that renewed ones are picked up."""

    ca: Path
    cert: Path
    key: Path

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises OSError."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca.read_bytes(),
            private_key=self.key.read_bytes(),
            certificate_chain=self.cert.read_bytes(),
        )


class Fleet:
    """The four calls on one connection."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.watch: Callable[..., Any] = channel.stream_stream(
            f"{SERVICE}Watch",
            request_serializer=pb.PodMessage.SerializeToString,
            response_deserializer=Incoming.parse,
        )
        self.resolve: Callable[..., Awaitable[pb.ResolveResponse]] = channel.unary_unary(
            f"{SERVICE}Resolve",
            request_serializer=pb.ResolveRequest.SerializeToString,
            response_deserializer=pb.ResolveResponse.FromString,
        )
        # Batches come serialised: their records are in the spool as the wire wants them.
        self.report: Callable[..., Any] = channel.stream_stream(
            f"{SERVICE}Report", request_serializer=bytes, response_deserializer=pb.UsageAck.FromString
        )

        self.hold: Callable[..., Any] = channel.stream_stream(
            f"{SERVICE}Hold",
            request_serializer=pb.HoldUp.SerializeToString,
            response_deserializer=pb.HoldDown.FromString,
        )

    async def close(self) -> None:
        await self._channel.close(None)


class Connector:
    """Opens the next connection: the targets in turn, so that a failed one is not asked twice in a row."""

    def __init__(self, targets: Sequence[str], certificates: Certificates | None, server_name: str) -> None:
        """`certificates` None: without TLS, which the settings allow on loopback only."""
        self._targets = targets
        self._certificates = certificates
        self._options = [*_OPTIONS]
        if server_name:
            self._options.append(("grpc.ssl_target_name_override", server_name))  # type: ignore[arg-type]
        self._turn = random.randrange(len(targets))

    def connect(self) -> tuple[str, Fleet]:
        """Raises OSError when a certificate cannot be read."""
        target = self._targets[self._turn % len(self._targets)]
        self._turn += 1
        if self._certificates is None:
            return target, Fleet(grpc.aio.insecure_channel(target, options=self._options))
        credentials = self._certificates.credentials()
        return target, Fleet(grpc.aio.secure_channel(target, credentials, options=self._options))


class Backoff:
    """0.2 s, doubling to 3 s, each somewhere between half and the whole of it."""

    FIRST_S: Final = 0.2
    LONGEST_S: Final = 3.0

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._next = self.FIRST_S

    def pause(self) -> float:
        pause = self._next * (0.5 + 0.5 * self._jitter())
        self._next = min(self.LONGEST_S, self._next * 2)
        return pause

    def succeeded(self) -> None:
        self._next = self.FIRST_S
