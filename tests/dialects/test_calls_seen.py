"""The law of calls: what passed and the list at the end, in any order and repeated, give the same counts."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.core.usage import UsageClass
from dataplane.dialects.responses.calls import CallsSeen, Item

_item = msgspec.json.Decoder(Item)
KINDS = ("web_search_call", "file_search_call", "code_interpreter_call", "mcp_call", "teleport_call", "message")
CALLS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2)), max_size=8)


def item(number: int, kind: str, container: int) -> Item:
    return _item.decode(msgspec.json.encode({"id": f"i{number}", "type": kind, "container_id": f"c{container}"}))


@settings(deadline=None, max_examples=60)
@given(calls=CALLS, data=st.data())
def test_order_and_repetition_change_no_count(calls: list[tuple[str, int]], data: st.DataObject) -> None:
    def shuffled() -> list[Item]:
        numbers = list(range(len(calls)))
        repeated = data.draw(st.lists(st.sampled_from(numbers), max_size=4)) if numbers else []
        return [item(number, *calls[number]) for number in data.draw(st.permutations(numbers + repeated))]

    seen = CallsSeen()
    where = data.draw(st.sampled_from(("passed", "listed", "both", "cut short")))
    if where != "listed":
        for one in shuffled():
            seen.passed(one)
    if where != "passed":
        seen.listed(shuffled() if where != "cut short" else [])
    kinds = [kind for kind, _ in calls]
    right = {
        UsageClass.WEB_SEARCH: kinds.count("web_search_call"),
        UsageClass.TOOL_CALL: kinds.count("file_search_call"),
        UsageClass.CONTAINER: len({held for kind, held in calls if kind == "code_interpreter_call"}),
    }
    assert seen.units() == {unit: count for unit, count in right.items() if count}
    teleports = kinds.count("teleport_call")
    assert seen.unknown() == ({"teleport_call": teleports} if teleports else {})


def test_images_whose_tokens_nobody_told_are_counted_by_their_calls() -> None:
    seen = CallsSeen()
    seen.passed(item(1, "image_generation_call", 0))
    seen.listed([item(1, "image_generation_call", 0)])
    assert seen.unknown() == {"image_generation_call": 1}
    assert seen.unknown(images_told=True) == {}
