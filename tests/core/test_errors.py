"""The catalogue of our errors."""

from __future__ import annotations

import pytest

from dataplane.core.errors import CATALOGUE, Code, Refusal, render_table


def test_every_code_is_in_the_catalogue_once():
    assert set(CATALOGUE) == set(Code)


@pytest.mark.parametrize("code", list(Code))
def test_a_refusal_says_what_the_catalogue_says(code):
    refusal = Refusal(code, "words")
    assert (refusal.status, refusal.retryable) == (CATALOGUE[code].status, CATALOGUE[code].retryable)
    assert 400 <= refusal.status < 600
    final = code is Code.PROVIDER_CREDENTIAL_REFUSED  # no retry mends it
    assert refusal.retryable == (refusal.status in (429, 500, 502, 503, 504) and not final)


def test_nobody_is_told_to_wait_long_or_in_vain():
    assert Refusal(Code.OVERLOADED, "words", retry_after=3600).retry_after == 20
    assert Refusal(Code.OVERLOADED, "words", retry_after=1).retry_after == 1
    assert Refusal(Code.INVALID_API_KEY, "words", retry_after=5).retry_after == 0


def test_the_table_has_one_row_per_code_and_no_broken_cell():
    head, rule, *rows = render_table().splitlines()
    assert len(rows) == len(Code)
    assert {row.count("|") for row in (head, rule, *rows)} == {6}
    assert rows[0].startswith("| `missing_api_key` | 401 | no |")
