"""A pod that lies: what a peer with a valid certificate can say of usage and of money, and no honest one does.

`answers` makes usage records as absurd providers and broken pods would have them; `Liar` says things over gRPC.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import grpc

from protos import fleet_pb2 as wire

FINAL, ADMITTED = wire.RECORD_STATUS_FINAL, wire.RECORD_STATUS_ADMITTED
LARGEST_COUNT, LARGEST = 2**53 - 1, 2**63 - 1
MANY_CLASSES = {f"output_class_{number}": LARGEST_COUNT for number in range(64)}

# Figures that fit where they are kept, and that no answer has.
ABSURD: tuple[dict[str, Any], ...] = (
    {"cost_nano": 15 * 10**12, "units": {"input": 3, "output": 10**12}},
    {"cost_nano": 10**16 + 2_000, "units": {"output": 10**12}},
    {"cost_nano": 2**60, "units": {"input": LARGEST_COUNT, "output": LARGEST_COUNT}},
    {"cost_nano": 2**60 - 1, "units": MANY_CLASSES},
    {"cost_nano": 10**18, "units": {"cache_read": LARGEST_COUNT}, "estimated_input_tokens": 2**60},
    {"duration_ms": 2**60, "first_byte_ms": 2**60, "request_bytes": 2**60, "response_bytes": 2**60, "events": 2**60},
    {"revision": 2**60, "http_status": 2**31 - 1, "attempt": 1000},
    {"raw_usage": '{"output_tokens": 1e999}', "metadata": '{"a": [[[[1]]]]}', "outcome": "x" * 16, "client": "ﷺ" * 64},
    {"model": "m" * 10_000, "tags": [f"tag {number}" for number in range(3_000)], "provider_error": "e" * 10_000},
)  # fmt: skip
# What is no record at all.
UNFIT: tuple[dict[str, Any], ...] = (
    {"cost_nano": -1}, {"cost_nano": LARGEST}, {"cost_nano": -LARGEST - 1}, {"cost_nano": 3 * 2**61},
    {"units": {"output": -5}}, {"units": {"output": LARGEST_COUNT + 1}}, {"units": {"output": LARGEST}},
    {"units": {f"c{number}": 1 for number in range(65)}}, {"units": {"": 1}}, {"units": {"\n": 1}},
    {"started_at_ms": 0}, {"started_at_ms": -1}, {"started_at_ms": LARGEST}, {"started_at_ms": 253_402_300_800_000},
    {"ended_at_ms": LARGEST}, {"ended_at_ms": -LARGEST - 1}, {"attempt": -1}, {"attempt": 2**31 - 1}, {"status": 0},
    {"events": -1}, {"duration_ms": LARGEST}, {"reserved_nano": LARGEST}, {"estimated_input_tokens": -1},
    {"request_id": ""}, {"request_id": "r" * 65}, {"request_id": "a\0b"}, {"key_id": "k" * 1_000_000},
    {"hold_session": "s" * 65},
)  # fmt: skip


def answers(number: int, kinds: tuple[dict[str, Any], ...], **fields: Any) -> Iterator[wire.UsageRecord]:
    """So many records, of one kind after the other."""
    for index, kind in zip(range(number), itertools.cycle(kinds), strict=False):
        said: dict[str, Any] = {
            "request_id": f"req_absurd_{index}", "status": FINAL, "started_at_ms": 1_795_000_000_000,
            "ended_at_ms": 1_795_000_001_000, "outcome": "ok", "http_status": 200, "priced": True,
            "source": wire.USAGE_SOURCE_PROVIDER, "model": "claude-sonnet-4-5",
        }  # fmt: skip
        yield wire.UsageRecord(**(said | fields | kind))


class Liar:
    """Speaks the raw protocol on one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        method = "/aigateway.fleet.v1.Fleet/"
        self._report = channel.stream_stream(
            f"{method}Report",
            request_serializer=wire.UsageBatch.SerializeToString,
            response_deserializer=wire.UsageAck.FromString,
        )
        self._hold = channel.stream_stream(
            f"{method}Hold",
            request_serializer=wire.HoldUp.SerializeToString,
            response_deserializer=wire.HoldDown.FromString,
        )

    def report(self, *records: wire.UsageRecord, session: str, pod: str = "liar", first: int = 1) -> wire.UsageAck:
        """Returns how the batch was acknowledged."""
        batch = wire.UsageBatch(pod_id=pod, session_id=session, first_seq=first, records=records)
        ack: wire.UsageAck = next(iter(self._report(iter([batch]), timeout=20)))
        return ack

    def hold(self, *messages: wire.HoldUp) -> list[wire.HoldDown]:
        """Returns the answers to these, one each. Raises RpcError where the call is ended instead."""
        call = self._hold(iter(messages), timeout=20)
        return list(itertools.islice(call, len(messages)))
