"""Figures that are seen later are booked once, whoever sees them and in whatever order the records come."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from controlplane.budgets import lease_sessions
from controlplane.budgets.models import Account, Charge
from controlplane.changes.change_set import change_set
from controlplane.providers import gate
from controlplane.providers.models import PriceList, Provider
from controlplane.usage import asking, corrections
from controlplane.usage.kept_models import KeptAnswer
from controlplane.usage.models import UsageRecord
from controlplane.usage.stored_figures import figures
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.budgets.test_answers import ref_of
from tests.controlplane.factories import SYSTEM
from tests.controlplane.usage.records import booked, record
from tests.controlplane.usage.test_reconcile import PRICES
from tests.controlplane.usage.test_settlement import drawing, lease

pytestmark = pytest.mark.django_db

HELD = 9_000_000
RIGHT = 500 * 3_000 + 200 * 15_000  # PRICES: $3 and $15 a million


@pytest.fixture
def provider() -> Provider:
    provider: Provider = factories.provider()
    with change_set(SYSTEM):
        PriceList(version="v2", prices=PRICES).save()
    return provider


def job(provider: Provider, request: str = "req_1", **more: Any) -> wire.UsageRecord:
    """A background job's request: charged with what was held."""
    fields: dict[str, Any] = {
        "organization_id": provider.organization_id, "provider_id": provider.pk, "source": wire.USAGE_SOURCE_HELD,
        "why": "runs_on", "units": {"input": 50}, "cost_nano": HELD, "kept_id": "resp_1", "goes_on": True,
    }  # fmt: skip
    return record(request, **(fields | more))


def poll(
    provider: Provider, request: str = "req_9", units: dict[str, int] | None = None, **more: Any
) -> wire.UsageRecord:
    seen = wire.UsageSeen(units=units or {"input": 500, "output": 200}, raw_usage='{"input_tokens": 500}')
    fields: dict[str, Any] = {
        "organization_id": provider.organization_id, "provider_id": provider.pk, "source": wire.USAGE_SOURCE_NONE,
        "operation": "responses_stored", "units": {}, "cost_nano": 0, "kept_id": "resp_1", "seen": seen,
    }  # fmt: skip
    return record(request, **(fields | more))


def total() -> int:
    return sum(UsageRecord.objects.values_list("cost_nano", flat=True))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_whoever_polls_first_has_the_job_charged_once(provider: Provider, order: tuple[int, ...]) -> None:
    records = [job(provider), poll(provider, "req_8"), poll(provider, "req_9", key_id="vk_other")]
    for first, at in enumerate(order, 1):
        booked(records[at], first=first)
    for first, each in enumerate(records, 4):  # everything is reported again
        booked(each, first=first)
    assert total() == RIGHT
    begun, correction = UsageRecord.objects.filter(request_id="req_1").order_by("correction")
    assert (begun.state, begun.source, begun.cost_nano) == ("corrected", "held", HELD)
    assert (correction.source, correction.why, correction.cost_nano) == ("provider", "", RIGHT - HELD)
    assert begun.input_tokens + correction.input_tokens == 500
    assert begun.output_tokens + correction.output_tokens == 200
    assert KeptAnswer.objects.get().settled


def test_the_accounts_follow(provider: Provider) -> None:
    budget = factories.budget(provider.organization)
    lease(ref_of(budget))
    booked(job(provider, **drawing(ref_of(budget), organization_id=provider.organization_id, provider_id=provider.pk)))
    assert Account.objects.get().settled_nano == HELD
    booked(poll(provider), first=2)
    assert Account.objects.get().settled_nano == RIGHT
    assert sum(Charge.objects.values_list("amount_nano", flat=True)) == RIGHT
    assert lease_sessions.problems() == []


def test_what_the_provider_told_at_once_is_not_outstanding(provider: Provider) -> None:
    booked(job(provider, source=wire.USAGE_SOURCE_PROVIDER, why="", cost_nano=77))
    booked(poll(provider), first=2)
    assert total() == 77


def test_another_organizations_answer_is_not_corrected(provider: Provider) -> None:
    booked(job(provider))
    other = factories.provider(factories.organization(name="Other", slug="other"))
    booked(poll(other), first=2)
    assert total() == HELD


def test_an_id_that_is_given_anew_stands_for_the_newest_answer(provider: Provider) -> None:
    booked(job(provider), poll(provider), job(provider, "req_2"), first=1)
    assert total() == RIGHT + HELD
    booked(poll(provider, "req_7"), first=9)
    assert total() == 2 * RIGHT


class Answers:
    """What the provider says when it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.status, self.body, self.asked = 200, b"{}", list[str]()
        self.headers: dict[str, str] = {}
        self.most_bytes = 0
        monkeypatch.setattr(gate, "call", self.call)

    def call(
        self, method: str, url: Any, *, path: str, headers: dict[str, str], most_bytes: int, **_: Any
    ) -> gate.Answer:
        assert method == "GET"
        assert headers.get("authorization", "").startswith("Bearer ") or headers["api-key"]
        self.asked.append(path)
        self.headers, self.most_bytes = headers, most_bytes
        return gate.Answer(self.status, {}, self.body)


def due() -> None:
    KeptAnswer.objects.update(ask_at=timezone.now() - timedelta(seconds=1))


@pytest.fixture
def openai(provider: Provider) -> Provider:
    return factories.provider(provider.organization, kind="openai", name="openai", base_url="https://api.openai.com/v1")


DONE = {
    "id": "resp_1", "status": "completed", "model": "m", "output": [],
    "usage": {"input_tokens": 500, "output_tokens": 200, "total_tokens": 700},
}  # fmt: skip


def test_a_job_that_nobody_polls_is_asked_for(openai: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(monkeypatch)
    booked(job(openai, model="claude-sonnet-4-5", provider_kind="openai"))
    assert asking.ask_providers() == 0  # not yet: whoever started it polls
    assert answers.asked == []
    due()
    answers.body = json.dumps({**DONE, "status": "in_progress", "usage": None}).encode()
    assert asking.ask_providers() == 0
    waits = KeptAnswer.objects.get()
    assert waits.ask_at is not None
    assert waits.ask_at > timezone.now()
    due()
    answers.body = json.dumps(DONE).encode()
    booked_now = asking.ask_providers()
    assert answers.asked == ["/responses/resp_1"] * 2
    assert booked_now == 1
    assert asking.ask_providers() == 0


def test_an_answer_that_was_not_kept_stays_as_it_was_charged(openai: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(monkeypatch)
    answers.status = 404
    booked(job(openai))
    due()
    assert asking.ask_providers() == 0
    kept = KeptAnswer.objects.get()
    assert (kept.settled, kept.ask_at) == (False, None)
    assert total() == HELD


NO_FIGURES = [
    b"", b"[]", b"{", b'{"usage":7}', b'{"status":"completed","usage":{"input_tokens":-1}}',
    b'{"status":"completed","usage":{"input_tokens":1e30,"output_tokens":1}}',
    b'{"status":"queued","usage":{"input_tokens":1,"output_tokens":1}}',
]  # fmt: skip


@pytest.mark.parametrize(
    ("base_url", "path"),
    [
        ("https://acme.openai.azure.com", "/openai/v1/responses/resp_1"),
        ("https://acme.openai.azure.com/openai", "/v1/responses/resp_1"),
        ("https://acme.openai.azure.com/openai/v1/", "/responses/resp_1"),
    ],
)
def test_azure_is_asked_where_it_keeps_them(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, base_url: str, path: str
) -> None:
    azure = factories.provider(
        provider.organization, kind="azure_openai", name="azure", base_url=base_url, deployments={"m": "d"}
    )
    answers = Answers(monkeypatch)
    answers.body = json.dumps(DONE).encode()
    booked(job(azure, model="claude-sonnet-4-5", provider_kind="azure_openai"))
    due()
    asking.ask_providers()
    assert answers.asked == [path]
    assert "api-key" in answers.headers


def test_an_answer_with_images_in_it_is_read_whole(openai: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(monkeypatch)
    image = {"type": "image_generation_call", "id": "ig_1", "result": "A" * 3_000_000}
    answers.body = json.dumps({**DONE, "output": [image]}).encode()
    booked(job(openai, model="claude-sonnet-4-5", provider_kind="openai"))
    due()
    assert asking.ask_providers() == 1
    assert len(answers.body) < answers.most_bytes


@pytest.mark.parametrize(("memory", "units"), [(None, 1), ("1g", 1), ("4g", 4), ("64g", 64), ("1t", 64), (7, 64)])
def test_a_container_counts_by_its_memory(memory: object, units: int) -> None:
    tools = [{"type": "function"}, {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": memory}}]
    items = [{"type": "code_interpreter_call", "container_id": "c"}]
    found = figures(json.dumps({**DONE, "output": items, "tools": tools}).encode())
    assert found is not None
    assert found[0]["units"]["container"] == units


@pytest.mark.parametrize("body", NO_FIGURES)
def test_what_tells_no_figures_is_no_figure(body: bytes) -> None:
    assert figures(body) is None


def test_calls_and_details_are_read_as_pods_read_them() -> None:
    items = [
        {"type": "web_search_call", "action": {"type": "search"}},
        {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "code_interpreter_call", "container_id": "c"}, {"type": "code_interpreter_call", "container_id": "c"},
        {"type": "file_search_call"},
    ]  # fmt: skip
    usage = {
        "input_tokens": 500, "input_tokens_details": {"cached_tokens": 100}, "output_tokens": 200,
        "output_tokens_details": {"reasoning_tokens": 150},
    }  # fmt: skip
    found = figures(json.dumps({**DONE, "output": items, "usage": usage, "service_tier": "flex"}).encode())
    assert found is not None
    told, model = found
    assert (told["service_tier"], model) == ("flex", "m")
    assert told["units"] == {
        "input": 400, "cache_read": 100, "output": 50, "output_reasoning": 150,
        "web_search": 1, "tool_call": 1, "container": 1,
    }  # fmt: skip


def test_old_ones_are_forgotten(provider: Provider) -> None:
    booked(job(provider))
    assert corrections.forget_old(timezone.now()) == 0
    assert corrections.forget_old(timezone.now() + timedelta(days=33)) == 1
