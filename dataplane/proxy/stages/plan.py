"""Who answers: a provider that the key may use and that speaks the client's dialect, and its name for the model."""

from __future__ import annotations

from dataplane.core import routing
from dataplane.core.routing import Candidate
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.inquiry import Inquiry


def plan(exchange: Exchange, inquiry: Inquiry) -> Candidate:
    """Remembered with the client's head. Raises Refusal."""
    snapshot, model = inquiry.snapshot, inquiry.request.facts.model
    candidate = exchange.memo.candidate(snapshot, model)
    if candidate is None:
        dialect = inquiry.route.dialect.name.value
        if model:
            candidate = routing.resolve(snapshot, inquiry.key, dialect, model)
        else:
            candidate = routing.for_dialect(snapshot, inquiry.key, dialect)
        exchange.memo.remember_candidate(snapshot, model, candidate)
    if others := inquiry.request.facts.wishes.models:
        routing.refuse_other_models(snapshot, inquiry.key, candidate, others)
    return candidate
