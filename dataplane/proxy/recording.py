"""What is written down of one exchange: a record of each attempt, or one of a request that no attempt came of."""

from __future__ import annotations

from dataplane.core.usage import Outcome, RecordStatus, UsageRecord
from dataplane.dialects.dialect import Client
from dataplane.proxy.answer import AnswerWatcher
from dataplane.proxy.client.identity import Identity
from dataplane.proxy.pod import Pod

_ADMITTED, _FINAL = RecordStatus  # a look-up in an Enum takes 0.1 µs


class Recording:
    """`current` is filled in as things become known: one object from the first byte of the request, or the beginning
    of a further attempt, to the ledger. `attempts`: the records of all attempts that were admitted. `settled`: the
    current one is final."""

    __slots__ = ("_clock", "_journal", "_keeper", "attempts", "began", "current", "settled")

    def __init__(self, pod: Pod, identity: Identity, client: Client, started_at_ms: int) -> None:
        self._clock = clock = pod.clock
        self._journal = pod.journal
        self.current = UsageRecord(
            request_id=identity.request_id,
            started_at_ms=started_at_ms,
            trace_id=identity.trace_id,
            span_id=identity.span_id,
            parent_span_id=identity.parent_span_id,
            client=client.name,
            client_version=client.version,
            session=client.session,
        )
        self.attempts: tuple[UsageRecord, ...] = ()
        self.settled = False
        self.began = clock.monotonic()  # as `current.started_at_ms`
        self._keeper: AnswerWatcher | None = None  # the attempt that runs

    def next_attempt(self) -> UsageRecord:
        """Its record. The first one's, and its times, are the request's; each further one has its own."""
        number = len(self.attempts)
        if number:
            if not self.settled:
                raise AssertionError("an attempt begins when the one before it is settled")
            self.current = self.current.for_attempt(number, self._clock.wall_ms())
            self.began, self.settled = self._clock.monotonic(), False
        return self.current

    def admit(self, keeper: AnswerWatcher) -> None:
        """The attempt that settles the current record. Raises Refusal when it cannot be kept."""
        record = self.current
        record.status = _ADMITTED
        record.duration_ms = round((self._clock.monotonic() - self.began) * 1e3)
        self._journal.admit(record)
        self.attempts += (record,)
        self._keeper = keeper

    def settle(self, outcome: Outcome, refusal_code: str = "", refusal_budget_id: str = "") -> None:
        """By the attempt that runs, if there is one. The first caller wins."""
        if self._keeper is not None:
            self._keeper.settle(outcome, refusal_code, refusal_budget_id)
        elif not self.settled:
            self.conclude(outcome, refusal_code, refusal_budget_id)
            if self.current.key_id:  # it is somebody's
                self._journal.settle(self.current)

    def conclude(self, outcome: Outcome, refusal_code: str, refusal_budget_id: str) -> None:
        """What every record ends with."""
        self.settled, self._keeper = True, None
        record = self.current
        record.status, record.outcome = _FINAL, outcome
        record.refusal_code, record.refusal_budget_id = refusal_code, refusal_budget_id
        record.duration_ms = duration_ms = round((self._clock.monotonic() - self.began) * 1e3)
        record.ended_at_ms = record.started_at_ms + duration_ms
