from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from dataplane.dialects.json_array import JsonArraySplitter
from dataplane.dialects.tails import Remnant

LEAVES = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8") | st.sampled_from('"\\[]{}'))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
OBJECTS = st.dictionaries(st.text(st.sampled_from('ab"\\{}[]'), max_size=4), VALUES, max_size=3)


@given(st.lists(OBJECTS, max_size=5), st.booleans(), st.data())
def test_any_chunking_gives_the_elements(objects, indented, data):
    text = json.dumps(objects, indent=1 if indented else None, ensure_ascii=False).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    splitter = JsonArraySplitter()
    found: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        found += splitter.feed(text[start:end])
    assert [json.loads(element) for element in found] == objects
    assert not splitter.mid_event


def test_one_object_without_an_array_is_an_element_too():
    splitter = JsonArraySplitter()
    assert splitter.feed(b' {"error": {"code": 4') == []
    assert splitter.mid_event
    assert splitter.feed(b"00}}") == [b'{"error": {"code": 400}}']


def test_of_an_element_beyond_the_limit_the_beginning_and_the_end_are_kept_and_the_rest_is_heard():
    splitter = JsonArraySplitter(limit=100)
    assert splitter.feed(b'[{"a":1},{"b":"') == [b'{"a":1}']
    for _ in range(20):
        assert splitter.feed(b"x" * 10) == []
    assert splitter.overflowed
    cut, after = splitter.feed(b'"},{"c":1}]')
    assert isinstance(cut, Remnant)
    assert cut.head.startswith(b'{"b":"xxx')
    assert cut.endswith(b'x"}')
    assert cut.size == len(b'{"b":""}') + 200
    assert after == b'{"c":1}'


@given(st.binary(max_size=200))
def test_nonsense_yields_nothing_that_raises(noise):
    splitter = JsonArraySplitter(limit=50)
    for at in range(len(noise)):
        splitter.feed(noise[at : at + 1])
