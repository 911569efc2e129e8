"""The last look before a request is written to a provider: may it still be sent, by what this pod knows now?

Between the head and that moment there are waits that others decide about: a body that trickles in, money that is asked
for, the line for a connection, the way to the provider. So the question is asked where no further wait can follow, and
again whenever the request is written again.
"""

from __future__ import annotations

from dataplane.core import authenticate, routing
from dataplane.core.routing import Candidate
from dataplane.core.snapshot import Snapshot
from dataplane.proxy.client.memory import Admitted
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.inquiry import Inquiry


def last_look(exchange: Exchange, inquiry: Inquiry, candidate: Candidate) -> None:
    """Never waits. Raises the Refusal that a request of this key would meet now."""
    admitted, pod = exchange.memo.admitted, exchange.pod
    if admitted is None:
        raise AssertionError("a request of nobody is on its way to a provider")
    configuration, until_ms, bound_ms = pod.configuration, admitted.until_ms, admitted.bound_ms
    snapshot = configuration.snapshot
    # Of nearly every request nothing has changed meanwhile, and nothing can have run out.
    if snapshot is not inquiry.snapshot or (until_ms and pod.clock.wall_ms() >= until_ms):
        bound_ms = _judged_anew(snapshot, admitted, candidate, inquiry, pod.clock.wall_ms())
    if not configuration.fresh(bound_ms):
        raise authenticate.stale()


def _judged_anew(snapshot: Snapshot, admitted: Admitted, candidate: Candidate, inquiry: Inquiry, now_ms: int) -> int:
    """How old the configuration may be, for a key that stands with the very secret that was shown. Raises Refusal."""
    key = authenticate.refuse_unless_usable(snapshot, admitted.key, now_ms, admitted.public_id)
    routing.refuse_unless_open(snapshot, key, candidate)
    routing.refuse_other_models(snapshot, key, candidate, inquiry.request.facts.wishes.models)
    return snapshot.organizations[key.organization_id].freshness_bound_ms
