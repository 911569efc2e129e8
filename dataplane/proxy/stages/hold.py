"""Money before anything is sent: a part of every budget above the key is set aside, or the request is refused.

A request under no budget pays one look-up. Where every account has something leased, it pays some additions; no
message, no wait.
"""

from __future__ import annotations

from dataplane.core.errors import Refusal
from dataplane.core.money import words as budget_words
from dataplane.core.money.accounts import Accounts, accounts_for
from dataplane.core.money.amounts import nano_from_pico
from dataplane.core.money.estimates import HIDDEN_CEILING, OutputEstimates, hides_reasoning
from dataplane.core.money.estimates import need as estimate_need
from dataplane.core.money.lease_book import Denied, Reason
from dataplane.core.money.prices import ModelPrice, dearest_in_family
from dataplane.core.routing import Candidate
from dataplane.core.snapshot import OrganizationView, Snapshot, Unpriced, VirtualKey
from dataplane.dialects.dialect import BILLED, RequestFacts
from dataplane.dialects.registry import Route
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.pod import Pod
from dataplane.proxy.reservation import Reservation
from dataplane.proxy.stages.read import Request


async def hold(
    exchange: Exchange,
    pod: Pod,
    snapshot: Snapshot,
    key: VirtualKey,
    route: Route,
    request: Request,
    candidate: Candidate,
) -> None:
    """Raises Refusal naming the budget that stands in the way."""
    view = snapshot.view(key.organization_id)
    if not view.budgets or route.operation not in BILLED:
        return
    accounts = accounts_for(snapshot, key, candidate.provider, candidate.model, pod.holds.at_ms())
    if not accounts:
        return
    session = (key.id, exchange.client.session)
    pod.repeats.check(session, request.body, accounts)
    price = _price(view, candidate, accounts, exchange.started_at_ms)
    if price is None:
        return
    asker = (candidate.model, key.principal_id)
    hides = hides_reasoning(candidate.provider.kind, candidate.model)
    need, minimum, output_pico = _amounts(
        pod.estimates, asker, request.facts, accounts, price, hides, exchange.started_at_ms
    )
    exchange.others_turn()
    held = await pod.holds.hold(exchange.identity.request_id, 0, accounts, need, minimum)
    exchange.our_turn()
    if isinstance(held, Denied):
        refusal = _refusal(view, held, pod.holds.at_ms())
        if held.reason is Reason.EXHAUSTED:
            pod.repeats.told(session, request.body, accounts, refusal)
        raise refusal
    exchange.holds(Reservation(held, pod.holds, pod.estimates, view, exchange, output_pico, asker))


def _refusal(view: OrganizationView, denied: Denied, at_ms: int) -> Refusal:
    if denied.reason is Reason.UNREACHABLE:
        return budget_words.unreachable(denied.account)
    return budget_words.exhausted(view, denied.account, denied.state, at_ms)


def _price(view: OrganizationView, candidate: Candidate, accounts: Accounts, at_ms: int) -> ModelPrice | None:
    """None: it costs nothing. Raises Refusal for a model whose price nobody knows."""
    provider, model, prices = candidate.provider, candidate.model, view.prices
    price = prices.find(provider, model) if prices is not None else None
    if price is None and prices is not None and provider.unpriced is Unpriced.DEAREST_IN_FAMILY:
        price = dearest_in_family(prices, provider, model, at_ms)
    if price is None and provider.unpriced is not Unpriced.FREE:
        blocking = next((account for account in accounts if account.blocks), None)
        if blocking is not None:
            raise budget_words.unpriced(view, blocking, model, provider.name)
    return price


def _amounts(
    estimates: OutputEstimates,
    asker: tuple[str, str],
    facts: RequestFacts,
    accounts: Accounts,
    price: ModelPrice,
    hides: bool,
    at_ms: int,
) -> tuple[int, int, int]:
    """What to set aside, what is enough where there is not more, and pico-dollars per token of output.

    A running stream can be extended and cut, so its output counts as it is to be expected; an answer in one piece, or
    one whose reasoning nobody sees, counts at its ceiling. Where a budget tolerates no overdraft that, and the input
    at its upper bound, has to be there; else input and output as they are likely to be.
    """
    likely = estimates.expect(*asker, facts.max_output)
    seen = facts.stream and not hides
    output = likely if seen else facts.max_output or HIDDEN_CEILING
    whole = estimate_need(price, at_ms, facts.input_tokens_upper, output)
    if any(account.tolerates_nothing for account in accounts):
        enough = whole.minimum if seen else whole.need
    else:
        enough = whole.minimum * facts.input_tokens_estimate // max(1, facts.input_tokens_upper)
        enough += 0 if seen else nano_from_pico(likely * whole.output_pico)
    return whole.need, min(enough, whole.need), whole.output_pico
