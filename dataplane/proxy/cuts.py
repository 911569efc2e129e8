"""Running exchanges that end before their answer does: by a revocation, by hand, by an expiry, on a stale pod.

Each ends at once, in its dialect's own way, and what it used is booked.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.core import authenticate
from dataplane.core.errors import Code, Refusal
from dataplane.core.refusals import who_can_help
from dataplane.core.snapshot import Organization, Principal, Project, Provider, Ref, VirtualKey
from dataplane.core.usage import Outcome, UsageRecord
from dataplane.proxy.life import Open
from dataplane.proxy.pod import Pod


def cut_revoked(pod: Pod, key_ids: Iterable[str], cut: bool) -> None:
    """Keys stopped. Running streams of a revoked key end now; those of a disabled one may finish."""
    if not cut:
        return
    for key_id in key_ids:
        for exchange in pod.exchanges.on_key(key_id):
            why = _no_longer_usable(pod, exchange)
            exchange.cut(why or Refusal(Code.VIRTUAL_KEY_REVOKED, "this virtual key was revoked"), Outcome.CUT)


def cut_by_hand(pod: Pod, rows: frozenset[Ref]) -> None:
    """An admin ended what runs under these rows."""
    for exchange in pod.exchanges:
        if not rows.isdisjoint(_under(exchange.record)):
            exchange.cut(_no_longer_usable(pod, exchange) or _ended(pod, exchange.record), Outcome.CUT)


def cut_expired(pod: Pod) -> None:
    """What runs on a key, or on a rotated secret, that has expired, in organizations that chose so."""
    snapshot = pod.configuration.snapshot
    for exchange in pod.exchanges:
        organization = snapshot.organizations.get(exchange.record.organization_id)
        if organization is None or not organization.cut_on_expiry:
            continue
        key = snapshot.keys.get(exchange.record.key_id)
        if key is None or not (key.expires_at_ms or len(key.secrets) > 1):
            continue
        why = _no_longer_usable(pod, exchange)
        if why is not None and why.code is Code.VIRTUAL_KEY_EXPIRED:
            exchange.cut(why, Outcome.CUT)


def cut_stale(pod: Pod) -> None:
    """What runs without news for too long, in organizations that chose so."""
    configuration = pod.configuration
    if not pod.exchanges or configuration.fresh(pod.limits.stale_cut_ms):
        return
    organizations = configuration.snapshot.organizations
    for exchange in pod.exchanges:
        organization = organizations.get(exchange.record.organization_id)
        if organization is not None and organization.cut_on_stale:
            exchange.cut(authenticate.stale(), Outcome.CUT)


def _under(record: UsageRecord) -> frozenset[Ref]:
    """The rows that an exchange runs under."""
    return frozenset(
        {
            (VirtualKey, record.key_id),
            (Principal, record.principal_id),
            (Project, record.project_id),
            (Organization, record.organization_id),
            (Provider, record.provider_id),
        }
    )


def _no_longer_usable(pod: Pod, exchange: Open) -> Refusal | None:
    """Why the secret that the exchange was let in with would be refused now; None: it would not."""
    snapshot, admitted = pod.configuration.snapshot, exchange.memo.admitted
    key = snapshot.keys.get(exchange.record.key_id)
    if key is None or admitted is None:
        return None
    try:
        authenticate.refuse_unless_usable(snapshot, key, pod.clock.wall_ms(), admitted.public_id)
    except Refusal as refusal:
        return refusal.with_traceback(None)  # whose frames know the exchange that keeps the refusal
    return None


def _ended(pod: Pod, record: UsageRecord) -> Refusal:
    who = who_can_help(pod.configuration.snapshot.view(record.organization_id))
    return Refusal(Code.ANSWER_CUT, f"{who} ended the answers that were running; ask again", retry_after=1)
