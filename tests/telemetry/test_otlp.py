"""Attributes encoded by hand are what OpenTelemetry's own messages would have been."""

import struct

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from dataplane.telemetry.otlp import Text, attributes, double_head, number

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
values = st.one_of(
    texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.lists(texts).map(tuple)
)


def official(value) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case _:
            return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=text) for text in value]))


@given(st.dictionaries(texts, values, max_size=8), texts)
def test_attributes_are_those_of_the_generated_messages(given_values, name):
    head = Span(name=name)
    whole = Span.FromString(head.SerializeToString() + attributes(given_values))
    said = {key: value for key, value in given_values.items() if value not in ("", ())}
    assert whole.name == name
    assert list(whole.attributes) == [KeyValue(key=key, value=official(value)) for key, value in said.items()]


@given(texts, st.one_of(st.text(max_size=200), st.text("ü", max_size=90)))
def test_a_text_of_any_length_is_the_same_attribute(key, text):
    readable = text.encode("utf-8", "replace").decode()
    assert Text(key).encode(text) == attributes({key: readable})


@given(texts, st.integers(-(2**63), 2**63 - 1))
def test_a_number_of_any_size_is_the_same_attribute(key, value):
    numbers = number(key)
    assert [numbers[value], numbers[7], numbers[value], numbers[7]] == [attributes({key: n}) for n in (value, 7)] * 2


@given(texts, st.floats(allow_nan=False))
def test_a_double_stands_behind_its_head(key, number):
    assert double_head(key) + struct.pack("<d", number) == attributes({key: number})
