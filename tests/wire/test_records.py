"""Records say on the wire what the core means, by hand as by the generated message, and back."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.usage import Outcome, RecordStatus, Usage, UsageClass, UsagePart, UsageRecord, UsageSource, Why
from dataplane.link.records import RECORD_BYTES, begun, encode, ended
from dataplane.wire.records import BEGINNING, beginning, beginning_message, end, message_from, record_from
from protos import fleet_pb2 as pb
from tests.link import strategies


def as_it_began(record: UsageRecord) -> pb.UsageRecord:
    known = {field.name: value for field, value in message_from(record).ListFields() if field.name in BEGINNING}
    return pb.UsageRecord(**known)


@given(strategies.records)
def test_the_end_of_an_attempt_comes_back_from_the_wire_as_it_was(record):
    record.status = RecordStatus.FINAL
    assert record_from(pb.UsageRecord.FromString(encode(record))) == record


@given(strategies.records, strategies._SPECIAL["usage"], st.text(min_size=1, max_size=20), st.booleans())
def test_what_was_seen_of_an_answer_that_a_provider_keeps_comes_back_from_the_wire(record, usage, kept_id, goes_on):
    seen = usage._replace(source=UsageSource.PROVIDER, why=Why.NOTHING)
    final = replace(record, status=RecordStatus.FINAL, kept_id=kept_id, goes_on=goes_on, seen=seen)
    assert record_from(pb.UsageRecord.FromString(encode(final))) == final
    assert record_from(message_from(final)) == final


@given(strategies.records)
def test_the_beginning_of_an_attempt_says_what_is_known_by_then(record):
    record.status = RecordStatus.ADMITTED
    assert pb.UsageRecord.FromString(encode(record)) == as_it_began(record)


@given(strategies.records, strategies.records)
def test_an_end_after_its_beginning_is_the_end_alone(record, end):
    known = {name: getattr(record, name) for name in BEGINNING}
    final = replace(end, **known | {"status": RecordStatus.FINAL})
    assert record_from(pb.UsageRecord.FromString(ended(final, begun(record)))) == final


def test_an_attempt_whose_end_nobody_sees_can_be_accounted_for():
    assert {
        *("request_id", "attempt", "status", "started_at_ms", "organization_id", "team_id", "project_id"),
        *("principal_id", "key_id", "provider_id", "model_requested", "model", "estimated_input_tokens", "tags"),
    } <= BEGINNING


def test_the_wire_has_a_field_for_every_fact_of_a_record():
    renamed = {"source", "units", "raw_usage", "service_tier", "speed", "geo", "why", "parts", "unknown_calls"}
    assert set(pb.UsageRecord.DESCRIPTOR.fields_by_name) - renamed == set(UsageRecord.__annotations__) - {"usage"}


hostile = st.text(max_size=20).flatmap(lambda text: st.sampled_from([text, text + "\ud800", text * 2_000]))


@given(hostile, hostile, st.sampled_from([0, 7, 2**80, -(2**80)]))
def test_no_client_and_no_provider_can_make_a_record_too_large_or_impossible(text, other, count):
    part = UsagePart(text, {UsageClass.OUTPUT: count}, other, text, other)
    usage = Usage(
        {UsageClass.INPUT: count}, UsageSource.PROVIDER, text, other, text, other, parts=(part,) * 300,
        unknown_calls={text + str(number): count for number in range(300)},
    )  # fmt: skip
    record = UsageRecord(
        request_id="req_1", usage=usage, model_requested=text, session=other, metadata=text, tags=(text, other) * 40,
        events=count, attempt=count, key_id="vk_1", cost_nano=12,
    )  # fmt: skip
    beginning = begun(record)
    assert len(beginning) <= RECORD_BYTES
    back = pb.UsageRecord.FromString(beginning)
    assert (back.request_id, back.key_id, back.status) == ("req_1", "vk_1", pb.RECORD_STATUS_ADMITTED)
    encoded = ended(record, beginning)
    assert len(encoded) <= RECORD_BYTES
    back = pb.UsageRecord.FromString(encoded)
    assert (back.request_id, back.key_id, back.cost_nano) == ("req_1", "vk_1", 12)


def test_a_large_record_keeps_what_money_and_attribution_need():
    usage = Usage({UsageClass.OUTPUT: 7}, UsageSource.PROVIDER, raw="x" * RECORD_BYTES)
    record = UsageRecord(request_id="req_1", usage=usage, model="claude", organization_id="org_1", http_status=200)
    assert pb.UsageRecord.FromString(encode(record)) == message_from(replace(record, usage=usage._replace(raw="")))


TEXTS = (
    *("model_requested", "model", "model_reported", "client", "client_version", "session", "metadata"),
    *("end_user_id", "provider_request_id"),
)


@given(
    st.sampled_from(TEXTS),
    st.text(max_size=30),
    st.text(max_size=30),
    st.sampled_from(["", "\ud800", "x" * RECORD_BYTES]),
)
def test_a_key_that_was_written_where_words_go_keeps_only_what_may_be_shown(field, before, after, trouble):
    shown = "lw_vk_live_0123456789"
    token = f"{shown}ABCDEFGHJKMNPQRSTVWXYZABCDEFGHJK"
    for pasted in (token, token[:-6], token[:30], token.replace("lw_vk_live_", "lw_at_"), token + token):
        text = f"{before} {pasted} {after}{trouble}"
        usage = Usage(service_tier=text, speed=text, geo=text, raw=text)
        chosen: dict[str, Any] = {field: text}
        record = UsageRecord(request_id="req_1", key_id="vk_1", tags=(text, "a"), usage=usage)
        record = replace(record, **chosen)
        beginning = begun(record)
        encoded = ended(record, beginning)
        assert b"ABCD" not in beginning + encoded
        assert max(len(beginning), len(encoded)) <= RECORD_BYTES
        back = record_from(pb.UsageRecord.FromString(encoded))
        assert (back.request_id, back.key_id, len(back.tags)) == ("req_1", "vk_1", 2)
        if "vk" in pasted:
            assert shown in back.tags[0]


def test_what_may_be_shown_of_a_key_is_left_as_it_is():
    record = UsageRecord(request_id="req_1", model="lw_model", tags=("lw_vk_live_0123456789", "claude-lw_at_1"))
    assert record_from(pb.UsageRecord.FromString(encode(record))) == record


@given(strategies.records)
def test_what_is_written_by_hand_is_what_the_generated_message_says(record):
    try:
        start, rest = beginning(record), end(record)
    except ValueError:
        return  # ids that are none of ours
    whole = message_from(replace(record, status=RecordStatus.FINAL))
    assert pb.UsageRecord.FromString(start) == beginning_message(whole)
    assert pb.UsageRecord.FromString(start + rest) == whole


@given(strategies.records, st.text(st.characters(max_codepoint=127), max_size=127))
def test_ids_of_ours_are_always_written_by_hand(record, id):
    ours = replace(record, request_id=id, trace_id=id, session=id, span_id=id, parent_span_id=id)
    assert pb.UsageRecord.FromString(beginning(ours)) == beginning_message(message_from(ours))


def test_words_of_a_newer_pod_are_kept_for_the_ledger():
    message = pb.UsageRecord(request_id="req_1", outcome="vanished", units={"smell": 3, "input": 4})
    record = record_from(message)
    assert (str(record.outcome), record.usage.units) == ("vanished", {"smell": 3, "input": 4})
    assert record_from(pb.UsageRecord(outcome="cut")).outcome is Outcome.CUT
