"""The access log's line says what a record says, and is one line whatever clients wrote into it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.usage import Outcome, UsageRecord
from dataplane.telemetry import access
from dataplane.telemetry.logs import FIELD_CHARACTERS, stamp_of
from tests.telemetry.test_telemetry import RECORD

AT_NS = 1_700_000_000_123_000_000


def line(record: UsageRecord, *, spotless: bool = True) -> dict:
    encoded = access.line(record, 250, AT_NS, stamp_of(AT_NS), spotless=spotless)
    assert encoded.count(b"\n") == 1
    assert encoded.endswith(b"\n")
    said: dict = json.loads(encoded)
    return said


def test_what_says_nothing_is_left_out_and_the_rest_is_as_in_the_record():
    said = line(RECORD)
    assert said["time"] == "2023-11-14T22:13:20.123Z"
    assert (said["level"], said["event"], said["overhead_us"], said["outcome"]) == ("info", "exchange", 250, "ok")
    assert (said["streaming"], said["events"], said["cost_nano"], said["model"]) == (
        True,
        42,
        1_500_000_000,
        "claude-x",
    )
    assert {"refusal_code", "attempt", "provider_request_id", "revision", "tags"}.isdisjoint(said)
    assert line(UsageRecord(request_id="req_1", outcome=Outcome.REFUSED)).keys() == {
        *("time", "level", "event", "overhead_us", "request_id", "outcome"),
    }


@pytest.mark.parametrize("strange", ["\ud800", "x" * 2 * FIELD_CHARACTERS])
def test_what_cannot_be_written_as_it_is_goes_the_long_way_with_the_same_fields(strange):
    said = line(replace(RECORD, session=strange))
    assert said.keys() == line(RECORD).keys()
    assert len(said["session"]) <= FIELD_CHARACTERS + 1
    assert said["cost_nano"] == 1_500_000_000


def test_a_record_that_is_under_suspicion_is_redacted():
    assert line(replace(RECORD, session="sk-ant-abcdefghijklmnop"), spotless=False)["session"] == "[redacted]"


@given(st.text(), st.text())
def test_no_text_can_begin_a_line(model, session):
    said = line(replace(RECORD, model_requested=model, session=session))
    assert said.get("session", "") == session.encode("utf-8", "replace").decode()
