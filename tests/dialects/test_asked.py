"""What a request asks for beside its model that may cost money."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.usage import UsageClass
from dataplane.dialects.asked import MOST_MODELS, asked
from dataplane.dialects.dialect import NOTHING_ASKED, Asked
from dataplane.dialects.scan import scan

C = UsageClass


def of(**fields: Any) -> Asked:
    return asked(scan(json.dumps({"model": "m", **fields}).encode()))


@pytest.mark.parametrize(
    ("fields", "models"),
    [
        (
            {"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-7"}]},
            ("claude-opus-4-7",),
        ),
        ({"tools": [{"type": "image_generation", "model": "gpt-image-1.5"}]}, ("gpt-image-1.5",)),
        ({"fallbacks": [{"model": "a"}, "b", {"model": "a"}]}, ("a", "b")),
        ({"fallback_models": ["a", "b"]}, ("a", "b")),
        ({"fallback_model": "a"}, ("a",)),
        ({"models": ["a", "b"]}, ("a", "b")),
        ({"tools": [{"model": "t"}], "fallbacks": [{"model": "f"}]}, ("t", "f")),
        ({"tools": [{"name": "f", "input_schema": {"properties": {"model": {"type": "string"}}}}]}, ()),
        ({"tools": [{"model": 7}, {"model": ""}, {"model": "x" * 257}], "fallbacks": [[], None, 3]}, ()),
        ({"fallbacks": {"model": "a"}}, ("a",)),
    ],
)
def test_every_other_model_that_may_answer_is_named(fields: dict[str, Any], models: tuple[str, ...]):
    assert of(**fields).models == models


@pytest.mark.parametrize(
    ("tools", "calls"),
    [
        ([{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}], {C.WEB_SEARCH: 5}),
        ([{"type": "web_search", "max_uses": 10**30}], {C.WEB_SEARCH: 100}),
        ([{"type": "web_search_preview"}, {"type": "web_search", "max_uses": True}], {C.WEB_SEARCH: 1}),
        ([{"type": "code_interpreter", "container": {"type": "auto"}}], {C.CONTAINER: 1}),
        ([{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "16g"}}], {C.CONTAINER: 16}),
        ([{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "1t"}}], {C.CONTAINER: 64}),
        ([{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": [4]}}], {C.CONTAINER: 64}),
        ([{"type": "code_interpreter", "container": "cntr_1"}], {C.CONTAINER: 1}),
        ([{"type": "shell", "environment": {"type": "container_auto"}}], {C.CONTAINER: 1}),
        ([{"type": "shell", "environment": {"type": "local"}}, {"type": "local_shell"}, {"type": "mcp"}], {}),
        ([{"type": "file_search"}], {C.TOOL_CALL: 1}),
        ([{"googleSearch": {}}, {"googleMaps": {}}], {C.WEB_SEARCH: 1, C.MAPS: 1}),
        ([{"google_search": {}, "google_maps": {}}], {C.WEB_SEARCH: 1, C.MAPS: 1}),
        ([{"type": "function", "function": {"name": "web_search"}}], {}),
        ([{"type": "web_fetch_20250910"}], {}),
    ],
)
def test_a_tool_that_bills_its_calls_is_expected_to_be_called(tools: list[Any], calls: dict[UsageClass, int]):
    assert dict(of(tools=tools).calls) == calls


@pytest.mark.parametrize(
    ("tool", "tokens"),
    [
        ({"size": "1024x1024", "quality": "low"}, 272),
        ({"size": "1024x1024", "quality": "medium"}, 1056),
        ({"size": "1024x1024", "quality": "high"}, 4160),
        ({"size": "1024x1536", "quality": "low"}, 408),
        ({"size": "1536x1024", "quality": "medium"}, 1584),
        ({"size": "1024x1536", "quality": "high", "partial_images": 3}, 6240 + 300),
        ({}, 6240),
        ({"size": "auto", "quality": "auto", "partial_images": 10**9}, 6240 + 300),
        ({"size": "2048x3072", "quality": "high"}, 4 * 6240),
        ({"size": "99999x99999", "quality": "ultra", "partial_images": -1}, 200_000),
        ({"size": 7, "quality": {}, "partial_images": True}, 6240),
    ],
)
def test_an_image_is_expected_at_the_size_and_quality_that_are_asked_for(tool: dict[str, Any], tokens: int):
    assert of(tools=[{"type": "image_generation", **tool}]).images == (("gpt-image-1", tokens),)
    named = of(tools=[{"type": "image_generation", "model": "gpt-image-1.5", **tool}])
    assert named.images == (("gpt-image-1.5", tokens),)


def test_tier_and_speed_are_those_that_are_asked_for():
    assert (of(service_tier="priority").service_tier, of(serviceTier="FLEX").service_tier) == ("priority", "FLEX")
    assert of(speed="fast").speed == "fast"
    assert dict(of(web_search_options={}).calls) == {C.WEB_SEARCH: 1}


def test_a_request_that_asks_for_nothing_has_nothing_made_for_it():
    assert of(messages=[], max_tokens=7) is NOTHING_ASKED


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just("m"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["model", "type", "max_uses", "environment", "googleMaps"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["tools", "fallbacks", "models", "speed", "service_tier"]), _ANYTHING))
def test_whatever_stands_there_is_bounded_and_raises_nothing(fields: dict[str, Any]):
    found = of(**fields)
    assert len(found.models) <= MOST_MODELS
    assert all(type(count) is int and 1 <= count <= 100 for _, count in found.calls)


def test_no_more_models_count_than_a_request_can_mean():
    assert len(of(fallbacks=[f"m{number}" for number in range(500)]).models) == MOST_MODELS
