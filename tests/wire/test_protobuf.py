"""What is encoded by hand is what protobuf reads."""

from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from dataplane.wire.protobuf import REMEMBERED_BELOW, Heads, Moments, Numbers, message, varint

int64 = st.integers(-(2**63), 2**63 - 1)


def number_in(encoded: bytes) -> int:
    return AnyValue.FromString(b"\x18" + encoded).int_value


@given(int64)
@example(4095)
@example(4096)
@example(0x1F_FFFF)
@example(0x20_0000)
def test_a_number_is_read_as_it_was_and_takes_no_more_bytes_than_it_must(number):
    assert number_in(varint(number)) == number
    assert b"\x18" + varint(number) == AnyValue(int_value=number).SerializeToString()


@given(st.lists(st.one_of(int64, st.integers(1_790_000_000_000, 1_790_000_040_000)), max_size=20))
def test_a_moment_is_the_number_that_it_is_in_whatever_order_moments_come(numbers):
    moments = Moments()
    assert [moments.encode(number) for number in numbers] == [varint(number) for number in numbers]


@given(st.lists(int64, max_size=10))
def test_fields_of_numbers_are_as_protobuf_writes_them_and_only_small_ones_are_remembered(some):
    fields = Numbers.of(3)
    for number in [*some, 0, REMEMBERED_BELOW - 1, REMEMBERED_BELOW, *some]:
        assert fields[number] == AnyValue(int_value=number).SerializeToString() if number else fields[0] == b""
    assert all(0 <= number < REMEMBERED_BELOW for number in fields)


@given(st.binary(max_size=300))
def test_a_head_is_what_stands_before_content_of_its_size(content):
    assert Heads(7)[len(content)] + content == message(7, content)


@given(st.binary(max_size=300))
def test_a_nested_message_is_framed_by_its_length(content):
    assert AnyValue.FromString(message(7, content)).bytes_value == content
