"""opencode takes a final refusal as final, whatever names, amounts and ids it holds."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.errors import CATALOGUE, Code, Refusal
from dataplane.dialects.dialect import Client, Dialect
from dataplane.dialects.finality import heard_by
from dataplane.dialects.registry import DIALECTS

OPENCODE = Client("opencode", "1.18.33", "")
FINAL = [code for code, entry in CATALOGUE.items() if not entry.retryable and entry.status < 500]
EVERY_DIALECT = pytest.mark.parametrize("dialect", list(DIALECTS.values()), ids=[name.value for name in DIALECTS])
# As it has them, in JavaScript that Python reads the same way.
RETRIES = [
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        r"429|500|502|503|504|524",
        r"rate increased too quickly|rate limit|rate-limit|rate_limit|too many requests",
        r"overloaded|service unavailable|service_unavailable|service-unavailable|internal error|internal_error"
        r"|internal server error|server error|server_error|server-error|provider returned error"
        r"|provider_returned_error|provider-returned-error",
        r"terminated|fetch failed|failed to fetch|network[-_\s]error|upstream connect|connection error"
        r"|connection refused|connection lost|socket connection was closed|socket hang up|reset before headers"
        r"|getaddrinfo|enotfound|eai_again|econnrefused|econnreset|etimedout",
        r"^timeout$|\b(?:request|response|connection|network|stream|read) (?:timeout|timed out|time out)\b",
        r"try your request again|retry your request|resource exhausted|resource_exhausted",
        r"\btry again (?:later|in\b)|\b(?:currently|temporarily) at capacity\b",
        r"too_many_requests|exhausted|unavailable",
    )
]
PARTS = st.sampled_from(
    ["429", "500", "50429", "$1,500.00", "52", "4", "rate limit", "Rate-Limit", "too_many_requests", "overloaded",
     "server error", "provider-returned-error", "terminated", "network\nerror", "upstream connect", "socket hang up",
     "eai_again", "timeout", "request timed out", "retry your request", "try again later", "try again in", "exhausted",
     "currently at capacity", "internal server error", " ", "\n", "é", "team-"]
)  # fmt: skip


def retried(said: str) -> bool:
    return any(pattern.search(said) for pattern in RETRIES)


def refusal(code: Code, words: str) -> Refusal:
    meta = {"budget": "team 500", "limit_nano": 500_000_000, "scope": "team", "allow": "GET", "resets_at": "2026-12-01"}
    return Refusal(code, words, meta=meta)


@EVERY_DIALECT
@given(code=st.sampled_from(FINAL), parts=st.lists(PARTS | st.text(max_size=5), max_size=12))
def test_nothing_in_a_final_refusal_makes_it_ask_again(dialect: Dialect, code: Code, parts: list[str]) -> None:
    words = "".join(parts)
    heard = heard_by(OPENCODE, refusal(code, words))
    body = dialect.refusal(heard, OPENCODE, "req_01a229231252d9524b2258da0179b6").body.decode()
    message = json.loads(body)["error"]["message"]
    assert not retried(message)
    assert not retried(body)
    assert message.replace("\u2060", "") == words.replace("\u2060", "")


@EVERY_DIALECT
def test_headers_are_those_of_the_refusal_itself(dialect: Dialect) -> None:
    for code in FINAL:
        whole = refusal(code, "words")
        assert (
            dialect.refusal(heard_by(OPENCODE, whole), OPENCODE, "r").headers
            == dialect.refusal(whole, OPENCODE, "r").headers
        )


def test_others_and_what_may_pass_keep_facts_and_words() -> None:
    spent = refusal(Code.BUDGET_EXCEEDED, "$500.00 spent")
    assert heard_by(Client("claude_code", "2.1.330", ""), spent) is spent
    busy = refusal(Code.RATE_LIMITED, "too many requests")
    assert heard_by(OPENCODE, busy) is busy
