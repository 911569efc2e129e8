"""The end of a request, whichever way it came: nothing is owed, telemetry hears of it, its connection is free.

An attempt settles itself as soon as the end of its answer is known (`Attempt.settle`): cost from the provider's own
figures, the rest of the hold given back, the one record, written before the answer's last byte. A request that no
attempt came of is recorded when it is answered. What comes here unsettled is a defect, and is recorded as one.
"""

from __future__ import annotations

from dataplane.core.errors import Code
from dataplane.core.usage import Outcome
from dataplane.proxy.exchange import Exchange


def settle(exchange: Exchange) -> None:
    """Called once for every exchange, and last."""
    records = exchange.records
    if not records.settled:
        records.settle(Outcome.FAILED, Code.INTERNAL_ERROR)
    if not exchange.unrecorded:
        exchange.pod.telemetry.finished(records.current, records.attempts, exchange.stopwatch.own_us())
    exchange.close()
