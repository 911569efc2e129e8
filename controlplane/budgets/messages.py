"""The Hold call's messages: protobuf ↔ the core's values. Raises ValueError for what a pod cannot mean."""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.core.money import messages as holds
from protos import fleet_pb2 as wire

LARGEST = 1 << 60  # nano-dollars: sums of some thousand such do not overflow
LONGEST_ID = 64
LONGEST_WINDOW = 120
MOST_ACCOUNTS = 10_000  # in a report
MOST_ITEMS = 64  # in an ask
MOST_GROWN = 10_000

_KINDS = {wire.ASK_KIND_ADMIT: holds.AskKind.ADMIT, wire.ASK_KIND_EXTEND: holds.AskKind.EXTEND}
_REASONS = {
    holds.DenyReason.EXHAUSTED: wire.DENY_REASON_EXHAUSTED,
    holds.DenyReason.UNKNOWN: wire.DENY_REASON_UNKNOWN,
    holds.DenyReason.CLOSED: wire.DENY_REASON_CLOSED,
}
_REASON_OF = {value: reason for reason, value in _REASONS.items()}


def account_ref(ref: wire.AccountRef) -> holds.AccountRef:
    for text, longest in (
        (ref.budget_id, LONGEST_ID),
        (ref.member_id, LONGEST_ID),
        (ref.window_key, LONGEST_WINDOW),
    ):
        if len(text) > longest or not text.isprintable():
            raise ValueError("an account's name is too long or not printable")
    if not ref.budget_id or not ref.window_key:
        raise ValueError("an account without a budget or a window")
    return holds.AccountRef(ref.budget_id, ref.member_id, ref.window_key)


def ask(message: wire.Ask) -> holds.Ask:
    if message.kind not in _KINDS:
        raise ValueError("an ask of no known kind")
    if not 0 < message.ask_id < 1 << 62 or not 0 < len(message.items) <= MOST_ITEMS:
        raise ValueError("an ask has a positive id and 1 to 64 items")
    if not 0 < len(message.request_id) <= LONGEST_ID or not 0 <= message.attempt <= 1000:
        raise ValueError("an ask names its request")
    items = tuple(
        holds.AskItem(
            account_ref(item.account),
            _money(item.need_nano),
            _money(item.minimum_nano, -LARGEST),
            _money(item.want_nano),
        )
        for item in message.items
    )
    if len({item.account for item in items}) != len(items):
        raise ValueError("an ask names an account twice")
    return holds.Ask(message.ask_id, _KINDS[message.kind], message.request_id, message.attempt, items)


def returned(message: wire.Return) -> holds.Return:
    return holds.Return(account_ref(message.account), _money(message.returned_cum))


def report(message: wire.HoldReport) -> holds.Report:
    if not 0 <= message.seq < 1 << 62 or len(message.grown) > MOST_GROWN:
        raise ValueError("a report is out of range")
    grown = tuple(
        holds.LiveHold(hold.request_id[:LONGEST_ID], max(0, hold.attempt), _money(hold.reserved_nano))
        for hold in message.grown
        if hold.request_id.isprintable()
    )
    return holds.Report(message.seq, _reports(message.accounts), grown)


def hello(message: wire.HoldHello) -> holds.Hello:
    return holds.Hello(message.session_id, _reports(message.accounts))


def _reports(reports: Iterable[wire.AccountReport]) -> tuple[holds.AccountReport, ...]:
    found = tuple(
        holds.AccountReport(
            account_ref(said.account),
            _money(said.free_nano, -LARGEST),
            _money(said.live_nano),
            _money(said.granted_cum),
            _money(said.consumed_cum, -LARGEST),
            _money(said.returned_cum),
            _money(said.want_nano),
        )
        for said in reports
    )
    if len(found) > MOST_ACCOUNTS:
        raise ValueError("a report is about at most 10,000 accounts")
    return found


def _money(value: int, least: int = 0) -> int:
    if not least <= value <= LARGEST:
        raise ValueError("an amount is out of range")
    return value


def reply(answer: holds.Grant | holds.Deny) -> wire.HoldDown:
    if isinstance(answer, holds.Grant):
        grant = wire.Grant(ask_id=answer.ask_id, items=[granted(item) for item in answer.items])
        return wire.HoldDown(grants=[grant])
    deny = wire.Deny(
        ask_id=answer.ask_id,
        reason=_REASONS[answer.reason],
        account=_ref(answer.account),
        state=_state(answer.state),
        resets_at_ms=answer.resets_at_ms,
    )
    return wire.HoldDown(denies=[deny])


def reply_from(raw: bytes) -> holds.Grant | holds.Deny:
    """What was answered before."""
    message = wire.HoldDown.FromString(raw)
    for grant in message.grants:
        items = tuple(
            holds.Granted(account_ref(item.account), item.granted_cum, item.amount_nano, _state_from(item.state))
            for item in grant.items
        )
        return holds.Grant(grant.ask_id, items)
    (deny,) = message.denies
    return holds.Deny(
        deny.ask_id, _REASON_OF[deny.reason], account_ref(deny.account), _state_from(deny.state), deny.resets_at_ms
    )


def granted(item: holds.Granted) -> wire.Granted:
    return wire.Granted(
        account=_ref(item.account),
        granted_cum=item.granted_cum,
        amount_nano=item.amount_nano,
        state=_state(item.state),
    )


def welcome(answer: holds.Welcome, server_time_ms: int) -> wire.HoldDown:
    return wire.HoldDown(
        welcome=wire.HoldWelcome(
            ttl_ms=answer.ttl_ms,
            report_ms=answer.report_ms,
            closed=answer.closed,
            accounts=[granted(item) for item in answer.accounts],
            pods=answer.pods,
            server_time_ms=server_time_ms,
        )
    )


def report_ack(answer: holds.ReportAck) -> wire.HoldDown:
    ack = wire.HoldReportAck(seq=answer.seq, accounts=[granted(item) for item in answer.accounts], pods=answer.pods)
    return wire.HoldDown(report_acks=[ack])


def recall(refs: Iterable[holds.AccountRef]) -> wire.HoldDown:
    return wire.HoldDown(recalls=[wire.Recall(accounts=[_ref(ref) for ref in refs])])


def _ref(ref: holds.AccountRef) -> wire.AccountRef:
    return wire.AccountRef(budget_id=ref.budget_id, member_id=ref.member_id, window_key=ref.window_key)


def _state(state: holds.AccountState) -> wire.AccountState:
    return wire.AccountState(
        limit_nano=state.limit_nano,
        settled_nano=state.settled_nano,
        held_nano=state.held_nano,
        idle_nano=state.idle_nano,
    )


def _state_from(state: wire.AccountState) -> holds.AccountState:
    return holds.AccountState(state.limit_nano, state.settled_nano, state.held_nano, state.idle_nano)
