"""The messages of the Hold call ⇄ the nouns of `dataplane.core.money.messages`.

A pod takes what its control plane says as it is, and leaves out what it does not know. The control plane takes nothing
that a pod cannot mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from dataplane.core.money.amounts import MOST_NANO, saturated
from dataplane.core.money.messages import (
    AccountRef,
    AccountReport,
    AccountState,
    Ask,
    AskItem,
    AskKind,
    Deny,
    DenyReason,
    Grant,
    Granted,
    Hello,
    LiveHold,
    Recall,
    Report,
    ReportAck,
    Return,
    Welcome,
)
from protos import fleet_pb2 as pb

LARGEST: Final = MOST_NANO
LONGEST_ID: Final = 64
LONGEST_WINDOW: Final = 120
MOST_ACCOUNTS: Final = 10_000  # in a report
MOST_ITEMS: Final = 64  # in an ask
MOST_GROWN: Final = 10_000

_KINDS: Final = {AskKind.ADMIT: pb.ASK_KIND_ADMIT, AskKind.EXTEND: pb.ASK_KIND_EXTEND}
_KINDS_BACK: Final[dict[int, AskKind]] = {number: kind for kind, number in _KINDS.items()}
_REASONS: Final = {
    DenyReason.EXHAUSTED: pb.DENY_REASON_EXHAUSTED,
    DenyReason.UNKNOWN: pb.DENY_REASON_UNKNOWN,
    DenyReason.CLOSED: pb.DENY_REASON_CLOSED,
    DenyReason.UNDECIDED: pb.DENY_REASON_UNDECIDED,
}
_REASONS_BACK: Final[dict[int, DenyReason]] = {number: reason for reason, number in _REASONS.items()}

Up = Hello | Ask | Return | Report
Down = Welcome | Grant | Deny | Recall | ReportAck


# Up: written by pods, read by the control plane.


def to_control_plane(pod_id: str, message: Up) -> pb.HoldUp:
    match message:
        case Hello():
            hello = pb.HoldHello(
                pod_id=pod_id,
                session_id=message.session_id,
                accounts=[_report_message(report) for report in message.accounts],
            )
            return pb.HoldUp(hello=hello)
        case Ask():
            items = [
                pb.AskItem(
                    account=ref_message(item.account),
                    need_nano=item.need_nano,
                    minimum_nano=item.minimum_nano,
                    want_nano=item.want_nano,
                )
                for item in message.items
            ]
            ask = pb.Ask(
                ask_id=message.ask_id,
                kind=_KINDS[message.kind],
                request_id=message.request_id,
                attempt=message.attempt,
                items=items,
            )
            return pb.HoldUp(asks=[ask])
        case Return():
            back = pb.Return(account=ref_message(message.account), returned_cum=message.returned_cum)
            return pb.HoldUp(returned=[back])
        case Report():
            grown = [
                pb.LiveHold(
                    request_id=hold.request_id, attempt=hold.attempt, reserved_nano=saturated(hold.reserved_nano)
                )
                for hold in message.grown
            ]
            accounts = [_report_message(report) for report in message.accounts]
            return pb.HoldUp(reports=[pb.HoldReport(seq=message.seq, accounts=accounts, grown=grown)])


def from_pod(message: pb.HoldUp) -> list[Up]:
    """What gives back comes before what asks. Raises ValueError for what a pod cannot mean."""
    return [
        *([hello_from(message.hello)] if message.HasField("hello") else []),
        *map(_return, message.returned),
        *map(_report, message.reports),
        *map(_ask, message.asks),
    ]


def hello_from(message: pb.HoldHello) -> Hello:
    """Raises ValueError."""
    return Hello(message.session_id, _account_reports(message.accounts))


def sane(ref: AccountRef) -> AccountRef:
    """The account, if it can be one. Raises ValueError."""
    for text, longest in zip(ref, (LONGEST_ID, LONGEST_ID, LONGEST_WINDOW), strict=True):
        if len(text) > longest or not text.isprintable():
            raise ValueError("an account's name is too long or not printable")
    if not ref.budget_id or not ref.window_key:
        raise ValueError("an account without a budget or a window")
    return ref


def _ask(message: pb.Ask) -> Ask:
    if message.kind not in _KINDS_BACK:
        raise ValueError("an ask of no known kind")
    if not 0 < message.ask_id < 1 << 62 or not 0 < len(message.items) <= MOST_ITEMS:
        raise ValueError("an ask has a positive id and 1 to 64 items")
    if not 0 < len(message.request_id) <= LONGEST_ID or not 0 <= message.attempt <= 1000:
        raise ValueError("an ask names its request")
    items = tuple(
        AskItem(
            sane(ref_from(item.account)),
            _money(item.need_nano),
            _money(item.minimum_nano, -LARGEST),
            _money(item.want_nano),
        )
        for item in message.items
    )
    if len({item.account for item in items}) != len(items):
        raise ValueError("an ask names an account twice")
    return Ask(message.ask_id, _KINDS_BACK[message.kind], message.request_id, message.attempt, items)


def _return(message: pb.Return) -> Return:
    return Return(sane(ref_from(message.account)), _money(message.returned_cum))


def _report(message: pb.HoldReport) -> Report:
    if not 0 <= message.seq < 1 << 62 or len(message.grown) > MOST_GROWN:
        raise ValueError("a report is out of range")
    grown = tuple(
        LiveHold(hold.request_id[:LONGEST_ID], max(0, hold.attempt), max(0, saturated(hold.reserved_nano)))
        for hold in message.grown
        if hold.request_id.isprintable()
    )
    return Report(message.seq, _account_reports(message.accounts), grown)


def _account_reports(messages: Iterable[pb.AccountReport]) -> tuple[AccountReport, ...]:
    """One that cannot be meant is left out, an amount that cannot be said is the nearest one that can: what a pod says
    of one account must not cost it its word on all others."""
    reports = []
    for message in islice(messages, MOST_ACCOUNTS):
        with suppress(ValueError):
            reports.append(
                AccountReport(
                    sane(ref_from(message.account)),
                    saturated(message.free_nano),
                    max(0, saturated(message.live_nano)),
                    max(0, saturated(message.granted_cum)),
                    saturated(message.consumed_cum),
                    max(0, saturated(message.returned_cum)),
                    max(0, saturated(message.want_nano)),
                )
            )
    return tuple(reports)


def _money(value: int, least: int = 0) -> int:
    if not least <= value <= LARGEST:
        raise ValueError("an amount is out of range")
    return value


def _report_message(report: AccountReport) -> pb.AccountReport:
    return pb.AccountReport(
        account=ref_message(report.account),
        free_nano=saturated(report.free_nano),
        live_nano=saturated(report.live_nano),
        granted_cum=saturated(report.granted_cum),
        consumed_cum=saturated(report.consumed_cum),
        returned_cum=saturated(report.returned_cum),
        want_nano=saturated(report.want_nano),
    )


# Down: written by the control plane, read by pods.


def to_pod(message: Down) -> pb.HoldDown:
    match message:
        case Welcome():
            welcome = pb.HoldWelcome(
                ttl_ms=message.ttl_ms,
                report_ms=message.report_ms,
                closed=message.closed,
                accounts=[_granted_message(item) for item in message.accounts],
                pods=message.pods,
                server_time_ms=message.server_time_ms,
                gone=map(ref_message, message.gone),
            )
            return pb.HoldDown(welcome=welcome)
        case Grant():
            grant = pb.Grant(ask_id=message.ask_id, items=[_granted_message(item) for item in message.items])
            return pb.HoldDown(grants=[grant])
        case Deny():
            deny = pb.Deny(
                ask_id=message.ask_id,
                reason=_REASONS[message.reason],
                account=ref_message(message.account),
                state=_state_message(message.state),
                resets_at_ms=message.resets_at_ms,
            )
            return pb.HoldDown(denies=[deny])
        case Recall():
            return pb.HoldDown(recalls=[pb.Recall(accounts=[ref_message(ref) for ref in message.accounts])])
        case ReportAck():
            accounts = [_granted_message(item) for item in message.accounts]
            ack = pb.HoldReportAck(
                seq=message.seq, accounts=accounts, pods=message.pods, gone=map(ref_message, message.gone)
            )
            return pb.HoldDown(report_acks=[ack])


def from_control_plane(message: pb.HoldDown) -> Iterator[Down]:
    """Nothing for what this version does not know. What it does not know of a denial is UNKNOWN."""
    if message.HasField("welcome"):
        welcome = message.welcome
        yield Welcome(
            welcome.ttl_ms,
            welcome.report_ms,
            welcome.closed,
            _granted(welcome.accounts),
            welcome.pods,
            welcome.server_time_ms,
            tuple(map(ref_from, welcome.gone)),
        )
    for grant in message.grants:
        yield Grant(grant.ask_id, _granted(grant.items))
    for deny in message.denies:
        reason = _REASONS_BACK.get(deny.reason, DenyReason.UNDECIDED)
        yield Deny(deny.ask_id, reason, ref_from(deny.account), _state(deny.state), deny.resets_at_ms)
    for recall in message.recalls:
        yield Recall(tuple(ref_from(account) for account in recall.accounts))
    for ack in message.report_acks:
        yield ReportAck(ack.seq, _granted(ack.accounts), ack.pods, tuple(map(ref_from, ack.gone)))


def _granted(messages: Iterable[pb.Granted]) -> tuple[Granted, ...]:
    return tuple(
        Granted(
            ref_from(message.account),
            message.granted_cum,
            message.amount_nano,
            _state(message.state),
            message.lease_epoch,
        )
        for message in messages
    )


def _granted_message(item: Granted) -> pb.Granted:
    return pb.Granted(
        account=ref_message(item.account),
        granted_cum=item.granted_cum,
        amount_nano=item.amount_nano,
        state=_state_message(item.state),
        lease_epoch=item.lease_epoch,
    )


def _state(message: pb.AccountState) -> AccountState:
    return AccountState(message.limit_nano, message.settled_nano, message.held_nano, message.idle_nano)


def _state_message(state: AccountState) -> pb.AccountState:
    return pb.AccountState(
        limit_nano=state.limit_nano,
        settled_nano=state.settled_nano,
        held_nano=state.held_nano,
        idle_nano=state.idle_nano,
    )


# In both.


def ref_message(ref: AccountRef) -> pb.AccountRef:
    return pb.AccountRef(budget_id=ref.budget_id, member_id=ref.member_id, window_key=ref.window_key)


def ref_from(message: pb.AccountRef) -> AccountRef:
    return AccountRef(message.budget_id, message.member_id, message.window_key)
