"""Globs for model names."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.globs import Glob, GlobSet, compiled

letters = st.text(alphabet="ab*", max_size=12)
names = st.text(alphabet="ab", max_size=16)


@given(letters, names)
def test_a_star_is_any_run_of_characters(pattern, name):
    assert Glob(pattern).matches(name) == fnmatch.fnmatchcase(name, pattern)


@given(st.lists(letters, max_size=5), names)
def test_a_set_matches_when_one_of_its_patterns_does(patterns, name):
    assert GlobSet(patterns).matches(name) == any(Glob(pattern).matches(name) for pattern in patterns)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("claude-*", "claude-opus-5", True),
        ("claude-*", "Claude-opus-5", False),
        ("gpt-[56]", "gpt-5", False),
        ("gpt-[56]", "gpt-[56]", True),
        ("gpt-?", "gpt-5", False),
        ("a*a", "a", False),
        ("*", "", True),
        ("", "", True),
        ("openai/*", "openai/gpt-5", True),
        ("*/gpt-5", "openai/gpt-5", True),
    ],
)
def test_nothing_else_is_special(pattern, name, expected):
    assert Glob(pattern).matches(name) is expected


def test_a_pattern_made_to_backtrack_is_walked_once():
    class Counted(str):
        finds = 0

        def find(self, *arguments):
            Counted.finds += 1
            return super().find(*arguments)

    assert not Glob("*a" * 50 + "*b").matches(Counted("a" * 5000 + "c"))
    assert not Glob("*a" * 50 + "*b*").matches(Counted("a" * 5000))
    assert Counted.finds <= 51


def test_an_empty_set_is_false_and_matches_nothing():
    assert not GlobSet(())
    assert not GlobSet(()).matches("")
    assert GlobSet(["*"])


def test_the_same_patterns_are_compiled_once():
    assert compiled(("a*", "b")) is compiled(("a*", "b"))
