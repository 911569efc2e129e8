"""Ids sort by time and say what they name."""

from __future__ import annotations

from controlplane.changes.ids import ALPHABET, new_id


def test_an_id_is_its_prefix_and_26_letters_without_ambiguous_ones():
    prefix, _, letters = new_id("vk").partition("_")
    assert prefix == "vk"
    assert len(letters) == 26
    assert set(letters) <= set(ALPHABET)
    assert not set("ILOU") & set(ALPHABET)


def test_a_later_millisecond_sorts_later_and_no_two_ids_are_equal(monkeypatch):
    ids = []
    for millisecond in range(1_700_000_000_000, 1_700_000_000_050):
        monkeypatch.setattr("time.time_ns", lambda at=millisecond: at * 1_000_000)
        ids.append(new_id("org"))
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
