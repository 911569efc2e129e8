"""The money of a request: taken before anything is sent, extended while it runs, given back on every way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dataplane.core.money.messages import AccountState
from dataplane.core.money.windows import WindowKind
from dataplane.core.rows import Budget, OnBreach, OutageRule, ScopeKind, Unpriced
from dataplane.core.usage import UsageClass
from tests.proxy.fake_holds import DOLLAR, budget
from tests.proxy.stage import (
    ANSWER,
    EVENTS,
    MESSAGE,
    STREAM_HEAD,
    STREAMED_MESSAGE,
    Peer,
    Stage,
    answer,
    chunk,
    event,
    get,
    play,
    post,
)

OPENCODE = {"User-Agent": "opencode/1.18.33 ai-sdk/provider-utils/4.0.1 runtime/bun/1.3.5"}
CODEX = {"originator": "codex_exec", "User-Agent": "codex_exec/0.169.0"}
ON_THE_KEY = budget("bud_key", name="mine", scope_kind=ScopeKind.VIRTUAL_KEY, scope_id="vk_1", scope_name="laptop")
LONG_TEXT = "words " * 2_000  # 12,000 bytes: some 3,500 tokens, $0.05


def text(said: str) -> bytes:
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": said}}
    return event("content_block_delta", json.dumps(delta))


async def begun(stage: Stage, headers: dict[str, str] | None = None, **left: int) -> tuple[Peer, Peer]:
    """A stream whose first events have arrived."""
    stage.holds.left.update(left)
    client = await stage.client()
    provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE, headers=headers or {}))
    await provider.send(STREAM_HEAD + chunk(EVENTS[0]) + chunk(EVENTS[1]))
    await client.until(b"content_block_start")
    return client, provider


def test_money_is_held_before_the_provider_is_reached_and_the_rest_comes_back():
    async def scene() -> None:
        async with Stage(rows=(budget(), ON_THE_KEY)) as stage:
            stage.holds.left.update(bud_1=2 * DOLLAR, bud_key=DOLLAR)
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            (admitted,) = stage.journal.admitted
            assert [ref.budget_id for ref in admitted.accounts] == ["bud_1", "bud_key"]
            assert {ref.member_id for ref in admitted.accounts} == {""}
            assert admitted.accounts[0].window_key == "month:2026-01-01@UTC"
            assert admitted.hold_session == "lse_scene"
            assert admitted.reserved_nano > 0
            assert stage.holds.in_flight == 2 * admitted.reserved_nano
            await provider.send(answer(ANSWER))
            await client.response()
            record = await stage.settled()
            assert record.cost_nano == 12 * 3_000 + 3 * 15_000
            assert record.accounts == admitted.accounts
            assert stage.holds.settled == [(record.request_id, record.cost_nano)]
            assert stage.holds.in_flight == 0
            assert stage.holds.book.problems() == []

    play(scene())


def test_a_request_id_that_a_client_repeats_changes_nothing_each_request_is_charged_once():
    async def scene() -> None:
        async with Stage(rows=(budget(), ON_THE_KEY)) as stage:
            stage.holds.left.update(bud_1=2 * DOLLAR, bud_key=DOLLAR)
            client = await stage.client()
            theirs = {"X-Request-Id": "mine", "X-Langwatch-Request-Id": f"req_{'0' * 30}", "Idempotency-Key": "mine"}
            provider = None
            for _ in range(2):
                asked = post("/v1/messages", MESSAGE, headers=theirs)
                if provider is None:
                    provider = await stage.asked(client, asked)
                else:
                    await client.send(asked)
                    await provider.request()
                await provider.send(answer(ANSWER))
                await client.response()
            (one, cost), (other, again) = stage.holds.settled
            assert len({one, other, theirs["X-Langwatch-Request-Id"]}) == 3
            assert cost == again == 12 * 3_000 + 3 * 15_000
            assert stage.holds.in_flight == 0

    play(scene())


def test_a_request_under_no_budget_holds_nothing_and_says_nothing():
    async def scene() -> None:
        async with Stage(rows=(budget(scope_kind=ScopeKind.TEAM, scope_id="another"),)) as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER))
            response = await client.response()
            assert "x-langwatch-budget-warning" not in response.headers
            record = await stage.settled()
            assert (record.accounts, record.reserved_nano, record.hold_session) == ((), 0, "")
            assert (stage.holds.asks, stage.holds.settled) == ([], [])

    play(scene())


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/messages", MESSAGE, {"User-Agent": "claude-cli/2.1.330"}, 402),
        ("/v1/responses", b'{"model":"gpt-5.5","input":"hi"}', CODEX, 429),
        ("/v1/chat/completions", b'{"model":"gpt-4.1","messages":[]}', {"User-Agent": "OpenAI/Python 2.1"}, 402),
        ("/v1beta/models/gemini-2.5-pro:generateContent", b'{"contents":[]}', {}, 402),
    ],
)
def test_a_spent_budget_refuses_and_names_itself(path: str, body: bytes, headers: dict[str, str], status: int):
    async def scene() -> None:
        async with Stage(rows=(budget(), ON_THE_KEY)) as stage:
            stage.holds.left.update(bud_1=2 * DOLLAR, bud_key=0)
            client = await stage.client()
            await client.send(post(path, body, headers=headers))
            response = await client.response()
            assert response.status == status
            assert response.headers["x-langwatch-budget-warning"] == "virtual_key:100"
            assert response.headers["x-should-retry"] == "false"
            said = response.body.decode()
            assert "Budget 'mine' (key laptop, monthly) is used up: $2.00 of $2.00 spent" in said
            assert "resets 2026-02-01 00:00 UTC. Ask ops@acme.test to raise it." in said
            assert stage.nobody_called()
            record = await stage.settled()
            assert (record.outcome, record.refusal_code) == ("refused", "budget_exceeded")
            assert record.refusal_budget_id == "bud_key"
            assert record.cost_nano == 0
            assert stage.journal.admitted == []
            assert stage.holds.in_flight == 0

    play(scene())


def test_opencode_finds_no_status_number_in_a_refusal_and_the_request_id_in_its_headers_only():
    async def scene() -> None:
        async with Stage(rows=(budget(name="team 500"),)) as stage:
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE, headers=OPENCODE))
            response = await client.response()
            assert response.status == 402
            assert response.headers["x-langwatch-request-id"].startswith("req_")
            body = json.loads(response.body)
            assert body["error"]["message"].startswith("Budget 'team 5\u206000'")
            assert set(body) == {"type", "error"}
            assert set(body["error"]) == {"type", "message", "code", "meta"}
            assert body["error"]["meta"] == {"scope": "organization"}

    play(scene())


def test_opencode_finds_none_in_an_answer_that_is_cut_either():
    async def scene() -> None:
        async with Stage(rows=(budget(name="team 500", overdraft_nano=1),)) as stage:
            client, provider = await begun(stage, OPENCODE, bud_1=30_000_000)
            for _ in range(3):
                await provider.send(chunk(text("more " * 1_000)))
            rest = (await client.until(b"0\r\n\r\n")).decode()
            assert "Budget 'team 5\u206000'" in rest

    play(scene())


def test_the_facts_of_a_refusal_are_for_programs_too():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE))
            error = json.loads((await client.response()).body)["error"]
            assert (error["type"], error["code"]) == ("billing_error", "budget_exceeded")
            assert error["meta"] == {
                "budget": "the team's", "budget_id": "bud_1", "scope": "organization", "window": "month",
                "limit": "$2.00", "spent": "$2.00", "resets_at": "2026-02-01T00:00:00Z", "contact": "ops@acme.test",
            }  # fmt: skip

    play(scene())


def test_a_warn_budget_never_stands_in_the_way_and_is_charged_all_the_same():
    async def scene() -> None:
        async with Stage(rows=(budget(on_breach=OnBreach.WARN),)) as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER))
            assert (await client.response()).status == 200
            record = await stage.settled()
            assert [ref.budget_id for ref in record.accounts] == ["bud_1"]
            (slice,) = stage.holds.book.slices.values()
            assert slice.consumed == record.cost_nano > 0

    play(scene())


def test_counting_tokens_holds_nothing():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages/count_tokens", MESSAGE))
            await provider.send(answer(b'{"input_tokens":5}'))
            assert (await client.response()).status == 200
            assert stage.holds.asks == []

    play(scene())


def test_a_stream_that_needs_more_gets_more_while_it_runs():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            client, provider = await begun(stage, bud_1=2 * DOLLAR)
            (live,) = stage.holds.book.live.values()
            first = live.charged
            for _ in range(8):
                await provider.send(chunk(text(LONG_TEXT)))
                await client.until(b'words "}}\n\n')
            assert live.charged > max(first, live.accrued)
            assert live.accrued > 8 * 2_000_000
            for each in EVENTS[3:]:
                await provider.send(chunk(each))
            await provider.send(b"0\r\n\r\n")
            await client.until(b"message_stop")
            record = await stage.settled()
            assert record.outcome == "ok"
            assert stage.holds.in_flight == 0
            assert stage.holds.book.problems() == []

    play(scene())


def test_a_stream_whose_money_runs_out_ends_legally_in_our_words_and_is_charged_what_it_produced():
    async def scene() -> None:
        async with Stage(rows=(budget(overdraft_nano=1),)) as stage:
            client, provider = await begun(stage, bud_1=30_000_000)
            for _ in range(3):
                await provider.send(chunk(text("more " * 1_000)))
            rest = await client.until(b"0\r\n\r\n")
            assert b'"stop_reason":"max_tokens"' in rest
            assert b"is used up" in rest
            assert rest.count(b"event: message_stop") == 1
            assert await provider.closed()
            record = await stage.settled()
            assert (record.outcome, record.refusal_code, record.http_status) == ("cut", "budget_exceeded", 200)
            assert record.refusal_budget_id == "bud_1"
            assert record.usage.source == "metered"
            produced = record.usage.units[UsageClass.OUTPUT]
            assert record.cost_nano == 12 * 3_000 + produced * 15_000
            assert stage.holds.settled == [(record.request_id, record.cost_nano)]
            assert stage.holds.in_flight == 0

    play(scene())


def test_a_stream_that_was_not_asked_for_is_followed_and_cut_all_the_same():
    async def scene() -> None:
        async with Stage(rows=(budget(overdraft_nano=1),)) as stage:
            stage.holds.left["bud_1"] = 30_000_000
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(STREAM_HEAD + chunk(EVENTS[0]) + chunk(EVENTS[1]))
            await client.until(b"content_block_start")
            for _ in range(4):
                await provider.send(chunk(text("more " * 1_000)))
            assert b"is used up" in await client.until(b"0\r\n\r\n")
            assert (await stage.settled()).outcome == "cut"
            assert stage.holds.in_flight == 0

    play(scene())


def test_an_answer_in_one_piece_is_never_cut():
    async def scene() -> None:
        async with Stage(rows=(budget(overdraft_nano=1),)) as stage:
            stage.holds.left["bud_1"] = 20_000_000
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            body = ANSWER.replace(b'"output_tokens":3', b'"output_tokens":9000')
            await provider.send(answer(body)[:-40])
            await provider.send(answer(body)[-40:])
            response = await client.response()
            assert (response.status, response.body) == (200, body)
            record = await stage.settled()
            assert record.cost_nano == 12 * 3_000 + 9_000 * 15_000
            assert stage.holds.book.problems() == []

    play(scene())


def test_whoever_leaves_gives_the_rest_back_and_pays_for_what_was_produced():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            client, provider = await begun(stage, bud_1=2 * DOLLAR)
            await provider.send(chunk(text("Hello, wörld, this was said")))
            await client.until(b"this was said")
            client.close()
            record = await stage.settled()
            assert record.outcome == "client_gone"
            assert record.cost_nano > 12 * 3_000
            assert stage.holds.settled == [(record.request_id, record.cost_nano)]
            assert stage.holds.in_flight == 0

    play(scene())


def test_a_provider_that_cannot_be_reached_costs_nothing():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            stage.holds.left["bud_1"] = DOLLAR
            stage._server.close()
            await stage._server.wait_closed()
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE))
            assert (await client.response()).status == 502
            record = await stage.settled()
            assert stage.holds.settled == [(record.request_id, 0)]
            assert stage.holds.in_flight == 0

    play(scene())


def test_a_full_spool_gives_the_money_back():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            stage.holds.left["bud_1"] = DOLLAR
            stage.journal.full = True
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE))
            assert (await client.response()).status == 503
            await stage.settled()
            assert stage.holds.in_flight == 0

    play(scene())


def test_a_client_that_leaves_while_the_control_plane_thinks_holds_nothing():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            stage.holds.left["bud_1"] = DOLLAR
            stage.holds.answers.clear()
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE))
            await stage.eventually(lambda: stage.telemetry.open == 1)
            client.abort()
            record = await stage.settled()
            assert record.outcome == "client_gone"
            assert stage.holds.book.live == {}
            assert stage.nobody_called()

    play(scene())


@pytest.mark.parametrize(
    ("unpriced", "on_breach", "status"),
    [
        (Unpriced.REFUSE, OnBreach.BLOCK, 403),
        (Unpriced.REFUSE, OnBreach.WARN, 200),
        (Unpriced.FREE, OnBreach.BLOCK, 200),
        (Unpriced.DEAREST_IN_FAMILY, OnBreach.BLOCK, 402),
    ],
)
def test_a_model_without_a_price_under_a_budget(unpriced: Unpriced, on_breach: OnBreach, status: int):
    async def scene() -> None:
        fields: dict[str, Any] = {"models": ("unheard-of",), "unpriced": unpriced}
        async with Stage(rows=(budget(on_breach=on_breach),), provider_fields=fields) as stage:
            client = await stage.client()
            raw = post("/v1/messages", MESSAGE.replace(b"claude-sonnet-4-5", b"unheard-of"))
            if status == 200:
                provider = await stage.asked(client, raw)
                await provider.send(answer(ANSWER))
            else:
                await client.send(raw)
            response = await client.response()
            assert response.status == status
            if status == 403:
                error = json.loads(response.body)["error"]
                assert error["code"] == "unpriced_model"
                assert "'unheard-of'" in error["message"]

    play(scene())


def test_above_its_threshold_every_answer_says_how_full_the_budget_is_and_codex_shows_it():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            stage.holds.left["bud_1"] = 2 * DOLLAR
            client = await stage.client()
            for headers in ({}, CODEX):
                provider = await stage.asked(client, post("/v1/messages", MESSAGE, headers=headers))
                for ref in stage.holds.book.slices:
                    stage.holds.knows(ref, AccountState(2 * DOLLAR, 1_700_000_000, 100_000_000, 80_000_000))
                await provider.send(answer(ANSWER))
                response = await client.response()
                provider.close()
                assert response.headers["x-langwatch-budget-warning"] == "organization:86"
                assert ("x-codex-primary-used-percent" in response.headers) is bool(headers)
            assert response.headers["x-codex-primary-used-percent"] == "86"
            assert response.headers["x-codex-primary-window-minutes"] == str(31 * 24 * 60)
            assert response.headers["x-codex-primary-reset-at"] == "1769904000"

    play(scene())


def test_the_sixth_time_within_ten_seconds_is_answered_from_memory_and_asks_nobody():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            client = await stage.client()
            statuses = []
            for _ in range(8):
                await client.send(post("/v1/messages", MESSAGE, headers={"X-Session-Id": "ses_1"}))
                response = await client.response()
                statuses.append(response.status)
            assert statuses == [402] * 5 + [429] * 3
            assert response.headers["retry-after"] == "10"
            assert b"is used up" in response.body
            await client.send(post("/v1/messages", MESSAGE, headers={"X-Session-Id": "ses_2"}))
            assert (await client.response()).status == 402  # somebody else
            stage.now += 11
            await client.send(post("/v1/messages", MESSAGE, headers={"X-Session-Id": "ses_1"}))
            assert (await client.response()).status == 402  # no loop any more

    play(scene())


def test_who_repeats_because_nobody_could_be_asked_is_no_loop_and_goes_on_once_somebody_can():
    async def scene() -> None:
        async with Stage(rows=(budget(outage=OutageRule.STRICT),)) as stage:
            stage.holds.left["bud_1"] = DOLLAR
            stage.holds.unreachable = True
            client = await stage.client()
            for _ in range(8):
                await client.send(post("/v1/messages", MESSAGE))
                response = await client.response()
                assert (response.status, response.headers["retry-after"]) == (503, "5")
            stage.holds.unreachable = False
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER))
            assert (await client.response()).status == 200

    play(scene())


def test_a_new_window_ends_a_loop():
    async def scene() -> None:
        async with Stage(rows=(budget(window=WindowKind.MINUTE),)) as stage:
            client = await stage.client()
            for status in [402] * 5 + [429]:
                await client.send(post("/v1/messages", MESSAGE))
                assert (await client.response()).status == status
            stage.wall_ms += 60_000
            stage.holds.left["bud_1"] = DOLLAR
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER))
            assert (await client.response()).status == 200

    play(scene())


def test_a_raised_budget_works_on_the_next_request():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            client = await stage.client()
            for _ in range(6):
                await client.send(post("/v1/messages", MESSAGE))
                await client.response()
            stage.holds.left["bud_1"] = DOLLAR
            stage.configuration.change(budget(limit_nano=3 * DOLLAR, revision=2))
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER))
            assert (await client.response()).status == 200

    play(scene())


def test_who_asks_for_the_budgets_above_a_key_is_told_what_this_pod_knows():
    async def scene() -> None:
        async with Stage(rows=(budget(), ON_THE_KEY)) as stage:
            client = await stage.client()
            await client.send(get("/v1/budget", headers={}))
            response = await client.response()
            assert response.headers["cache-control"] == "no-store"
            first, second = json.loads(response.body)["data"]
            assert stage.holds.looked == ["bud_1", "bud_key"]
            assert (first["name"], first["limit"], first["spent"]) == ("the team's", "$2.00", None)
            stage.holds.left.update(bud_1=2 * DOLLAR, bud_key=2 * DOLLAR)
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            for ref in stage.holds.book.slices:
                stage.holds.knows(ref, AccountState(2 * DOLLAR, 1_500_000_000, 300_000_000, 100_000_000))
            await provider.send(answer(ANSWER))
            await client.response()
            await client.send(get("/v1/budget"))
            first, second = json.loads((await client.response()).body)["data"]
            assert (second["name"], second["scope"], second["scope_name"]) == ("mine", "virtual_key", "laptop")
            assert (second["spent"], second["held"], second["remaining"]) == ("$1.50", "$0.20", "$0.30")
            assert (second["percent"], second["resets_at"]) == (85, "2026-02-01T00:00:00Z")

    play(scene())


def test_nobody_is_told_of_budgets_without_a_key():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            client = await stage.client()
            await client.send(get("/v1/budget", token=None))
            assert (await client.response()).status == 401

    play(scene())


def taken(**changes: Any) -> Callable[[Stage], None]:
    """An edit of the budget that is strict without contact."""
    row = budget("bud_1", **{"outage": OutageRule.STRICT, "revision": 2} | changes)
    return lambda stage: stage.configuration.change(row)


def deleted(stage: Stage) -> None:
    present = stage.configuration.snapshot
    stage.configuration.snapshot = present.apply(present.revision + 1, (), [(Budget, "bud_1")])


TAKEN_AWAY = {
    "deleted": deleted,
    "disabled": taken(enabled=False),
    "for other models": taken(model_pattern="gpt-*"),
    "for another provider": taken(provider_id="prov_openai"),
    "for somebody else": taken(scope_kind=ScopeKind.TEAM, scope_id="another"),
    "only warns": taken(on_breach=OnBreach.WARN),
    "reset": taken(resets=1),
}


@pytest.mark.parametrize("edit", TAKEN_AWAY.values(), ids=TAKEN_AWAY)
def test_a_budget_that_is_taken_away_does_not_cut_the_stream_that_runs(edit: Any):
    async def scene() -> None:
        async with Stage(rows=(budget(outage=OutageRule.STRICT), ON_THE_KEY)) as stage:
            client, provider = await begun(stage, bud_1=20_000_000, bud_key=2 * DOLLAR)
            edit(stage)
            for _ in range(8):
                await provider.send(chunk(text(LONG_TEXT)))
                await client.until(b'words "}}\n\n')
            (live,) = stage.holds.book.live.values()
            assert live.charged > live.accrued > 100_000_000
            for each in EVENTS[3:]:
                await provider.send(chunk(each))
            await provider.send(b"0\r\n\r\n")
            await client.until(b"message_stop")
            record = await stage.settled()
            assert record.outcome == "ok"
            assert [ref.budget_id for ref in record.accounts] == ["bud_1", "bud_key"]
            assert stage.holds.book.problems() == []

    play(scene())


def test_a_budget_that_becomes_stricter_while_the_body_comes_refuses_the_request():
    async def scene() -> None:
        async with Stage(rows=(budget(on_breach=OnBreach.WARN),)) as stage:
            client = await stage.client()
            request = post("/v1/messages", MESSAGE)
            await client.send(request[:-10])
            await stage.eventually(lambda: stage.telemetry.open > 0)
            stage.configuration.change(budget(revision=2, lease_epoch=1))
            await client.send(request[-10:])
            assert (await client.response()).status == 402
            assert stage.journal.admitted == []

    play(scene())


@pytest.mark.parametrize("edit", TAKEN_AWAY.values(), ids=TAKEN_AWAY)
def test_a_refusal_by_a_budget_that_was_taken_away_meanwhile_refuses_nobody(edit: Any):
    async def scene() -> None:
        async with Stage(rows=(budget(outage=OutageRule.STRICT),)) as stage:
            stage.holds.answers.clear()
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE))
            await stage.eventually(lambda: bool(stage.holds.book.unanswered_asks))
            edit(stage)
            stage.holds.answers.set()
            if edit is TAKEN_AWAY["reset"]:  # the new window has nothing left either
                assert (await client.response()).status == 402
                return
            provider = await stage.provider()
            await provider.request()
            await provider.send(answer(ANSWER))
            assert (await client.response()).status == 200

    play(scene())
