"""Money before anything is sent: a part of every budget above the key is set aside, or the request is refused.

A request under no budget pays one look-up. Where every account has something leased, it pays some additions; no
message, no wait.

Budgets are those of now, not of when the head came in: a body may take its time, and a budget may become stricter. The
rest of the request keeps the snapshot that it was let in with.
"""

from __future__ import annotations

from typing import Final

from dataplane.core.errors import Refusal
from dataplane.core.money import words as budget_words
from dataplane.core.money.accounts import Accounts, accounts_for
from dataplane.core.money.amounts import nano_from_pico
from dataplane.core.money.estimates import HIDDEN_CEILING, calls_pico, hides_reasoning, images_pico
from dataplane.core.money.estimates import need as estimate_need
from dataplane.core.money.holds import Draws
from dataplane.core.money.lease_book import Denied, Reason
from dataplane.core.money.prices import ModelPrice, dearest_in_family
from dataplane.core.routing import Candidate
from dataplane.core.rows import Budget
from dataplane.core.snapshot import OrganizationView, Unpriced, VirtualKey
from dataplane.dialects.dialect import BILLED
from dataplane.proxy.attempt import Attempt
from dataplane.proxy.bill import NO_PRICES
from dataplane.proxy.pod import Pod
from dataplane.proxy.reservation import Asker, Reservation

# How often an answer counts for nothing because the budgets were changed before it came.
REPEATS: Final = 3


async def hold(attempt: Attempt) -> None:
    """Raises Refusal naming the budget that stands in the way."""
    inquiry, pod = attempt.inquiry, attempt.exchange.pod
    snapshot = pod.configuration.snapshot
    view = inquiry.view if snapshot is inquiry.snapshot else snapshot.view(inquiry.key.organization_id)
    if not view.budgets or inquiry.route.operation not in BILLED:
        return
    accounts = _accounts(pod, inquiry.key, attempt.candidate)
    for again in reversed(range(REPEATS)):
        outcome = await _asked(attempt, accounts) if accounts else None
        before = accounts
        if pod.configuration.snapshot is not snapshot and again:  # while it waited
            accounts, snapshot = _accounts(pod, inquiry.key, attempt.candidate), pod.configuration.snapshot
        if accounts is before or _budgets(accounts) == _budgets(before):
            break
        if isinstance(outcome, Reservation):
            outcome.release()
    if isinstance(outcome, Denied):
        raise _refused(attempt, before, outcome)
    if outcome is not None:
        attempt.reserve(outcome)


async def _asked(attempt: Attempt, accounts: Accounts) -> Reservation | Denied | None:
    """None: it costs nothing. Raises Refusal for what was refused too often, or has no price."""
    exchange, inquiry, candidate = attempt.exchange, attempt.inquiry, attempt.candidate
    pod, view = exchange.pod, inquiry.view
    pod.repeats.check(_session(attempt), inquiry.request.body, accounts)
    prices = _prices(view, candidate, inquiry.request.facts.wishes.models, accounts, attempt.record.started_at_ms)
    if not prices:
        return None
    asker = Asker(candidate.model, inquiry.key.principal_id)
    likely = pod.estimates.expect(*asker, inquiry.request.facts.max_output)
    amounts = [_amounts(attempt, accounts, price, likely) for price in prices]
    need, minimum, output_pico = amounts[0] if len(amounts) == 1 else map(max, zip(*amounts, strict=True))
    with exchange.waiting():
        outcome = await pod.holds.hold(exchange.identity.request_id, attempt.record.attempt, accounts, need, minimum)
    if isinstance(outcome, Denied):
        return outcome
    outcome.draws = _draws(pod, inquiry.key, candidate)
    return Reservation(outcome, pod, view, asker, output_pico)


def _accounts(pod: Pod, key: VirtualKey, candidate: Candidate) -> Accounts:
    snapshot = pod.configuration.snapshot
    return accounts_for(snapshot, key, candidate.provider, candidate.model, pod.holds.at_ms())


def _budgets(accounts: Accounts) -> list[Budget]:
    return [account.budget for account in accounts]


def _draws(pod: Pod, key: VirtualKey, candidate: Candidate) -> Draws:
    """What the running answer draws on, its key being where it is then."""

    def draws(_before: Accounts) -> Accounts:
        return _accounts(pod, pod.configuration.snapshot.keys.get(key.id, key), candidate)

    return draws


def _session(attempt: Attempt) -> tuple[str, str]:
    return attempt.inquiry.key.id, attempt.exchange.client.session


def _refused(attempt: Attempt, accounts: Accounts, denied: Denied) -> Refusal:
    if denied.reason is not Reason.EXHAUSTED:
        return budget_words.unchecked(denied.account, denied.reason)
    inquiry, pod = attempt.inquiry, attempt.exchange.pod
    view = pod.configuration.snapshot.view(inquiry.key.organization_id)
    refusal = budget_words.exhausted(view, denied.account, denied.state, pod.holds.at_ms())
    pod.repeats.remember(_session(attempt), inquiry.request.body, accounts, refusal)
    return refusal


def _prices(
    view: OrganizationView, candidate: Candidate, others: tuple[str, ...], accounts: Accounts, at_ms: int
) -> list[ModelPrice]:
    """Of all models that the request names: the dearest may do all of it. Raises Refusal as `_price` does."""
    models = [candidate, *[Candidate(candidate.provider, model) for model in others]]
    prices = [_price(view, named, accounts, at_ms) for named in models]
    return [price for price in prices if price is not None]


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


def _extra_pico(attempt: Attempt, price: ModelPrice, at_ms: int) -> int:
    """What is not of the model's own tokens."""
    wishes, prices = attempt.inquiry.request.facts.wishes, attempt.inquiry.view.prices or NO_PRICES
    drawn_pico = images_pico(prices, attempt.candidate.provider, wishes.images, at_ms)
    return drawn_pico + calls_pico(price, wishes.calls, at_ms)


def _amounts(attempt: Attempt, accounts: Accounts, price: ModelPrice, likely: int) -> tuple[int, int, int]:
    """What to set aside, what is enough where there is not more, and pico-dollars per token of output.

    `likely`: tokens of output as they are to be expected. A running stream can be extended and cut, so its output
    counts like that; an answer in one piece, or one whose reasoning nobody sees, counts at its ceiling. Where a budget
    tolerates no overdraft that, and the input at its upper bound, has to be there; else input and output as they are
    likely to be.
    """
    facts, candidate = attempt.inquiry.request.facts, attempt.candidate
    seen = facts.stream and not hides_reasoning(candidate.provider.kind, candidate.model)
    output = likely if seen else facts.max_output or HIDDEN_CEILING
    wishes, at_ms = facts.wishes, attempt.record.started_at_ms
    whole = estimate_need(
        price,
        at_ms,
        facts.input_tokens_upper,
        output,
        service_tier=wishes.service_tier,
        speed=wishes.speed,
        extra_pico=_extra_pico(attempt, price, at_ms) if wishes.calls or wishes.images else 0,
        base_url=candidate.provider.base_url,
    )
    if any(account.tolerates_nothing for account in accounts):
        enough = whole.minimum if seen else whole.need
    else:
        enough = whole.minimum * facts.input_tokens_estimate // max(1, facts.input_tokens_upper)
        enough += 0 if seen else nano_from_pico(likely * whole.output_pico)
    return whole.need, min(enough, whole.need), whole.output_pico
