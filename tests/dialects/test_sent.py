"""What a client has when a stream must end: read off a meter, of its own dialect and no other."""

from __future__ import annotations

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.dialect import Client, Dialect, Meter, Operation
from dataplane.dialects.registry import ANTHROPIC, CHAT, GEMINI, RESPONSES
from dataplane.dialects.sent import Form
from tests.dialects import streams
from tests.dialects.metering import FACTS
from tests.dialects.test_stream_refusals import OPERATIONS, WHOLE

REFUSALS = [
    Refusal(Code.VIRTUAL_KEY_REVOKED, "revoked"),
    Refusal(Code.BUDGET_EXCEEDED, "spent"),
    Refusal(Code.CONFIGURATION_STALE, "lost", meta={"budget": "team"}),
]
SOMEBODY = Client("other", "", "")


def after(dialect: Dialect, sent: bytes, *, streaming: bool = True) -> Meter:
    meter = dialect.meter(OPERATIONS[dialect], streaming=streaming, facts=FACTS)
    meter.feed(sent)
    return meter


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
@pytest.mark.parametrize("other", WHOLE, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("dialect", WHOLE, ids=lambda dialect: dialect.name)
def test_what_was_sent_in_another_dialect_is_no_end_of_nothing(dialect: Dialect, other: Dialect, refusal: Refusal):
    for text in (b"", WHOLE[other][:400], WHOLE[other]):
        sent = after(other, text).sent_so_far()
        if other is dialect:
            assert isinstance(dialect.ending(refusal, SOMEBODY, "req_1", sent), bytes)
        else:
            with pytest.raises(TypeError, match="of another dialect"):
                dialect.ending(refusal, SOMEBODY, "req_1", sent)


@pytest.mark.parametrize("dialect", WHOLE, ids=lambda dialect: dialect.name)
def test_a_refusal_about_a_budget_is_a_legal_end_and_any_other_an_error(dialect: Dialect):
    sent = after(dialect, WHOLE[dialect][:200].rpartition(b"\n\n")[0] + b"\n\n").sent_so_far()
    revoked, spent, lost = (dialect.ending(refusal, SOMEBODY, "req_1", sent) for refusal in REFUSALS)
    legal = {ANTHROPIC: b"max_tokens", RESPONSES: b"response.incomplete", CHAT: b'"length"', GEMINI: b"MAX_TOKENS"}
    assert legal[dialect] in spent
    assert legal[dialect] in lost
    assert legal[dialect] not in revoked


def test_an_open_event_is_told_and_so_is_what_it_would_be_at_its_end():
    sent = after(CHAT, streams.CHAT.rpartition(b"\n\n")[0]).sent_so_far()  # all but the last blank line
    assert sent.at.mid_event
    assert sent.closed is not None
    assert not sent.closed.at.mid_event
    assert sent.closed.at.events == sent.at.events + 1
    assert after(CHAT, streams.CHAT).sent_so_far().closed is None


@pytest.mark.parametrize("dialect", WHOLE, ids=lambda dialect: dialect.name)
def test_asking_changes_nothing(dialect: Dialect):
    text = WHOLE[dialect]
    meter, undisturbed = after(dialect, text[:300]), after(dialect, text[:300])
    meter.sent_so_far()
    for each in (meter, undisturbed):
        each.feed(text[300:])
    assert (meter.usage(), meter.events, meter.complete) == (undisturbed.usage(), undisturbed.events, True)


def test_the_form_is_what_the_bytes_are_parts_of():
    assert after(GEMINI, b"").sent_so_far().at.form is Form.EVENTS
    array = after(GEMINI, b'[{"candidates":[]}', streaming=False).sent_so_far()
    assert (array.at.form, array.at.joint) == (Form.ARRAY, b",")
    whole = RESPONSES.meter(Operation.RESPONSES, streaming=False, facts=FACTS)
    whole.feed(b'{"half":')
    assert whole.sent_so_far().at.form is Form.WHOLE
