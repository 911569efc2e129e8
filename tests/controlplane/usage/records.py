"""Records and batches as pods send them."""

from __future__ import annotations

from typing import Any

from controlplane.usage.ingest import book
from controlplane.usage.models import UsageRecord
from protos import fleet_pb2 as wire

ADMITTED, FINAL = wire.RECORD_STATUS_ADMITTED, wire.RECORD_STATUS_FINAL
AT_MS = 1_795_000_000_000


def record(request_id: str = "req_1", **fields: Any) -> wire.UsageRecord:
    given: dict[str, Any] = {
        "status": FINAL,
        "started_at_ms": AT_MS,
        "ended_at_ms": AT_MS + 1000,
        "organization_id": "org_1",
        "key_id": "vk_1",
        "model": "claude-sonnet-4-5",
        "outcome": "ok",
        "http_status": 200,
        "source": wire.USAGE_SOURCE_PROVIDER,
        "units": {"input": 100, "cache_read": 20, "output": 7, "output_reasoning": 3},
        "cost_nano": 5_000,
        "priced": True,
    }
    return wire.UsageRecord(request_id=request_id, **(given | fields))


def admitted(request_id: str = "req_1", **fields: Any) -> wire.UsageRecord:
    nothing = {"units": {}, "cost_nano": 0, "priced": False, "ended_at_ms": 0, "http_status": 0, "outcome": "ok"}
    return record(
        request_id,
        **({"status": ADMITTED, "source": wire.USAGE_SOURCE_NONE, "estimated_input_tokens": 50} | nothing | fields),
    )


def batch(*records: wire.UsageRecord, first: int = 1, session: str = "session-1") -> wire.UsageBatch:
    return wire.UsageBatch(pod_id="pod-1", session_id=session, first_seq=first, records=records)


def booked(*records: wire.UsageRecord, first: int = 1, session: str = "session-1", identity: str = "") -> wire.UsageAck:
    return book(batch(*records, first=first, session=session), identity)


def ledger() -> list[tuple[Any, ...]]:
    """What the ledger says, without what depends on when it was told."""
    columns = ("request_id", "attempt", "correction", "state", "outcome", "cost_nano", "input_tokens", "output_tokens")
    return sorted(UsageRecord.objects.values_list(*columns))
