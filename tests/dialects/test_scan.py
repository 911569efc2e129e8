from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dataplane.core.errors import Code, Refusal
from dataplane.dialects import scan as scanning
from dataplane.dialects.halves import with_whole_characters
from dataplane.dialects.scan import required_model, scan, splice

TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from('"\\\n{}[],: '), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.just("model"), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(TEXT | st.sampled_from(["model", "stream", "messages"]), VALUES, max_size=6)
LAYOUTS = st.sampled_from([{}, {"indent": 2}, {"indent": "\t"}, {"separators": (",", ":")}, {"ensure_ascii": False}])


@given(BODIES, LAYOUTS, st.sampled_from([b"", b" ", b"\r\n\t"]))
def test_every_span_holds_exactly_its_value(value, layout, around):
    body = around + json.dumps(value, **layout).encode() + around
    fields = scan(body)
    assert {key: json.loads(body[start:end]) for key, (start, end) in fields.spans.items()} == value
    assert {key: scan(body).span(key) for key in value} == fields.spans
    for start, end in fields.spans.values():
        assert not body[start:end][:1].isspace()
        assert not body[start:end][-1:].isspace()


@given(BODIES, LAYOUTS, TEXT, TEXT)
def test_splicing_the_model_moves_nothing_else(value, layout, old, new):
    assume(old)
    value = {**value, "model": old}
    body = json.dumps(value, **layout).encode()
    fields = scan(body)
    start, end = fields.spans["model"]
    replacement = json.dumps(new).encode()
    after = splice(body, [(start, end, replacement)])
    assert json.loads(after) == {**value, "model": new}
    assert after[:start] == body[:start]
    assert after[start + len(replacement) :] == body[end:]


@given(st.lists(st.tuples(st.sampled_from(["model", "stream", "a"]), VALUES), min_size=1, max_size=5), LAYOUTS)
def test_a_top_level_field_twice_is_refused_and_once_is_not(members, layout):
    comma, colon = layout.get("separators", (", ", ": "))
    body = "{" + comma.join(json.dumps(k) + colon + json.dumps(v, **layout) for k, v in members) + "}"
    if len({key for key, _ in members}) == len(members):
        assert set(scan(body.encode()).spans) == {key for key, _ in members}
        return
    with pytest.raises(Refusal) as refused:
        scan(body.encode())
    assert refused.value.code is Code.BAD_REQUEST
    assert "twice" in refused.value.message


MEMBERS = st.lists(st.tuples(TEXT | st.sampled_from(["model", "a", 'a":[{"b']), VALUES), min_size=1, max_size=5)


@given(MEMBERS, LAYOUTS, st.data())
def test_the_quick_reading_never_says_what_the_careful_one_does_not(members, layout, data):
    comma, colon = layout.get("separators", (", ", ": "))
    again = data.draw(st.lists(st.sampled_from(members), max_size=2))
    body = ("{" + comma.join(json.dumps(k) + colon + json.dumps(v) for k, v in [*members, *again]) + "}").encode()
    raw = scanning._fields.decode(body)
    quick = scanning._plain(body, raw)
    assert quick is None or quick == scanning._walk(body, raw)
    if scanning._compact(body, raw):
        assert scanning.Scan(body, raw, None).spans == scanning._walk(body, raw)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"a"}',
        b'{"model":"a","x":1,"mod\\u0065l":"b"}',
        b'{"a":{},"model":"X","a":{"b":"cdefgh","model":"X"}}',
        b'{"stream":true,"stream":true}',
    ],
)
def test_no_spelling_of_a_duplicate_gets_through(body):
    with pytest.raises(Refusal, match="twice"):
        scan(body)


def test_nested_and_quoted_models_are_not_the_model():
    body = rb'{"tools":[{"model":"no"}],"text":"\"model\":\"no\"","mod\u0065l":"yes","x":{"model":"no"}}'
    assert required_model(scan(body)) == ("yes", (body.index(b'"yes"'), body.index(b'"yes"') + 5))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"a"', b"{", b"{}x", b"nonsense", b'{"a":NaN}', b'{"a":' + b"[" * 100_000, b'{"\xff":1}']
)
def test_what_is_no_json_object_is_a_bad_request(body):
    with pytest.raises(Refusal) as refused:
        scan(body)
    assert refused.value.code is Code.BAD_REQUEST


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", Code.MISSING_MODEL),
        (b'{"model":null}', Code.MISSING_MODEL),
        (b'{"model":7}', Code.BAD_REQUEST),
        (b'{"model":""}', Code.BAD_REQUEST),
        (b'{"model":"%s"}' % (b"x" * 300), Code.BAD_REQUEST),
    ],
)
def test_a_model_must_be_a_name(body, code):
    with pytest.raises(Refusal) as refused:
        required_model(scan(body))
    assert refused.value.code is code


def test_many_fields_are_refused_and_large_bodies_before_their_fields_become_objects(monkeypatch):
    many = json.dumps({str(number): 1 for number in range(scanning.MAX_FIELDS + 1)}).encode()
    with pytest.raises(Refusal, match="more than 1000 fields"):
        scan(many)
    monkeypatch.setattr(scanning, "MAX_REST", 2_000)
    with pytest.raises(Refusal, match="outside of messages"):
        scan(many)
    large = json.dumps({"model": "m", "messages": ["x" * 5_000]}).encode()
    assert required_model(scan(large))[0] == "m"


def test_an_array_is_taken_apart_up_to_a_limit(monkeypatch):
    fields = scan(b'{"requests": [ {"a": 1},{"a": 1} , [2],"{" ]}')
    assert [fields.body[start:end] for start, end in fields.elements("requests")] == [
        b'{"a": 1}', b'{"a": 1}', b"[2]", b'"{"',
    ]  # fmt: skip
    monkeypatch.setattr(scanning, "MAX_ELEMENTS", 2)
    with pytest.raises(Refusal, match="more than 2 objects"):
        fields.elements("requests")


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\uDE00", rb"\ud83d\ud83d\ude00", rb"\\\ud83d", rb"\ud83dx\ude00"])
def test_half_a_character_in_the_conversation_is_the_providers_business(half):
    body = b'{"model":"m","messages":[{"content":"' + half + b'"}],"stream":true}'
    fields = scan(body)
    assert required_model(fields) == ("m", (9, 12))
    assert body[slice(*fields.spans["stream"])] == b"true"


@given(st.text(st.characters() | st.sampled_from("\\ud83"), max_size=20))
def test_repairing_half_characters_keeps_length_and_whole_characters(text):
    literal = json.dumps(text).encode()
    repaired = with_whole_characters(literal)
    assert len(repaired) == len(literal)
    whole = "".join("\ufffd" if "\ud800" <= each <= "\udfff" else each for each in json.loads(literal))
    assert json.loads(repaired) == whole
