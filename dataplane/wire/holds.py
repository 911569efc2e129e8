"""The messages of the Hold call ⇄ the nouns of `dataplane.core.money.messages`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from dataplane.core.money.messages import (
    AccountRef,
    AccountReport,
    AccountState,
    Ask,
    AskKind,
    Deny,
    DenyReason,
    Grant,
    Granted,
    Hello,
    Recall,
    Report,
    ReportAck,
    Return,
    Welcome,
)
from protos import fleet_pb2 as pb

_KINDS: Final = {AskKind.ADMIT: pb.ASK_KIND_ADMIT, AskKind.EXTEND: pb.ASK_KIND_EXTEND}
_REASONS: Final = {
    pb.DENY_REASON_EXHAUSTED: DenyReason.EXHAUSTED,
    pb.DENY_REASON_CLOSED: DenyReason.CLOSED,
}

Up = Hello | Ask | Return | Report
Down = Welcome | Grant | Deny | Recall | ReportAck


def message_up(pod_id: str, said: Up) -> pb.HoldUp:
    match said:
        case Hello():
            hello = pb.HoldHello(
                pod_id=pod_id, session_id=said.session_id, accounts=[_report(each) for each in said.accounts]
            )
            return pb.HoldUp(hello=hello)
        case Ask():
            items = [
                pb.AskItem(
                    account=_ref(item.account),
                    need_nano=item.need_nano,
                    minimum_nano=item.minimum_nano,
                    want_nano=item.want_nano,
                )
                for item in said.items
            ]
            ask = pb.Ask(
                ask_id=said.ask_id,
                kind=_KINDS[said.kind],
                request_id=said.request_id,
                attempt=said.attempt,
                items=items,
            )
            return pb.HoldUp(asks=[ask])
        case Return():
            back = pb.Return(account=_ref(said.account), returned_cum=said.returned_cum)
            return pb.HoldUp(returned=[back])
        case Report():
            grown = [
                pb.LiveHold(request_id=each.request_id, attempt=each.attempt, reserved_nano=each.reserved_nano)
                for each in said.grown
            ]
            report = pb.HoldReport(seq=said.seq, accounts=[_report(each) for each in said.accounts], grown=grown)
            return pb.HoldUp(reports=[report])


def said_down(message: pb.HoldDown) -> Iterator[Down]:
    """Nothing for what this version does not know. What it does not know of a denial is UNKNOWN."""
    if message.HasField("welcome"):
        welcome = message.welcome
        yield Welcome(welcome.ttl_ms, welcome.report_ms, welcome.closed, _granted(welcome.accounts), welcome.pods)
    for grant in message.grants:
        yield Grant(grant.ask_id, _granted(grant.items))
    for deny in message.denies:
        reason = _REASONS.get(deny.reason, DenyReason.UNKNOWN)
        yield Deny(deny.ask_id, reason, _ref_from(deny.account), _state(deny.state), deny.resets_at_ms)
    for recall in message.recalls:
        yield Recall(tuple(_ref_from(account) for account in recall.accounts))
    for ack in message.report_acks:
        yield ReportAck(ack.seq, _granted(ack.accounts), ack.pods)


def _ref(account: AccountRef) -> pb.AccountRef:
    return pb.AccountRef(budget_id=account.budget_id, member_id=account.member_id, window_key=account.window_key)


def _ref_from(wire: pb.AccountRef) -> AccountRef:
    return AccountRef(wire.budget_id, wire.member_id, wire.window_key)


def _report(said: AccountReport) -> pb.AccountReport:
    return pb.AccountReport(
        account=_ref(said.account),
        free_nano=said.free_nano,
        live_nano=said.live_nano,
        granted_cum=said.granted_cum,
        consumed_cum=said.consumed_cum,
        returned_cum=said.returned_cum,
        want_nano=said.want_nano,
    )


def _granted(items: Iterable[pb.Granted]) -> tuple[Granted, ...]:
    return tuple(
        Granted(_ref_from(item.account), item.granted_cum, item.amount_nano, _state(item.state)) for item in items
    )


def _state(wire: pb.AccountState) -> AccountState:
    return AccountState(wire.limit_nano, wire.settled_nano, wire.held_nano, wire.idle_nano)
