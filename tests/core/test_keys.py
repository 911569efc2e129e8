"""Virtual keys as text."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core import keys
from dataplane.core.secret import Secret

PEPPER = Secret(b"p" * 32)

seeds = st.binary(min_size=17, max_size=17)
envs = st.sampled_from(["live", "test"])


def mint(env: str, seed: bytes) -> tuple[str, str]:
    minted = keys.mint(env, lambda count: seed[:count])
    return minted.token.reveal().decode(), minted.public_id


@given(envs, seeds)
def test_what_is_minted_parses_to_its_own_public_id(env, seed):
    token, public_id = mint(env, seed)
    assert len(token) == keys.TOKEN_LENGTH == 53
    assert token.startswith(f"lw_vk_{env}_{public_id}")
    assert keys.parse(token) == keys.parse(token.encode()) == keys.Parsed(public_id, env)


@given(seeds, st.integers(0, 52), st.sampled_from(keys.ALPHABET))
def test_one_wrong_character_makes_it_malformed(seed, position, letter):
    token, _ = mint("live", seed)
    wrong = token[:position] + letter + token[position + 1 :]
    assert (keys.parse(wrong) is None) == (wrong != token)


@given(seeds)
def test_only_the_exact_spelling_counts(seed):
    token, _ = mint("live", seed)
    body = token.removeprefix("lw_vk_live_")
    variants = {
        " " + token,
        token + " ",
        token + "\n",
        token[:-1],
        token + "0",
        "lw_vk_test_" + body,
        "LW_VK_LIVE_" + body,
        "",
    }
    if body.lower() != body:
        variants.add("lw_vk_live_" + body.lower())
    for variant in variants:
        assert keys.parse(variant) is None
        assert keys.parse(variant.encode()) is None


@given(st.one_of(st.text(max_size=80), st.text(min_size=53, max_size=53)), st.binary(max_size=80))
def test_hostile_tokens_are_malformed_and_never_an_error(text, raw):
    assert keys.parse(text) is None
    assert keys.parse(raw) is None


def test_the_secret_carries_130_random_bits_and_the_public_id_50():
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return b"\xff" * count

    token = keys.mint("live", random).token.reveal().decode()
    assert asked == [7, 17]
    assert token.startswith("lw_vk_live_" + "Z" * 36)


def test_the_alphabet_has_no_letter_that_reads_as_another():
    assert len(set(keys.ALPHABET)) == 32
    assert not set("ILOU") & set(keys.ALPHABET)


def test_the_digest_is_an_hmac_of_the_whole_token_under_the_pepper():
    token, _ = mint("test", b"0123456789abcdefg")
    expected = hmac.new(b"p" * 32, token.encode(), hashlib.sha256).digest()
    assert keys.digest(PEPPER, token) == keys.digest(PEPPER, token.encode()) == expected
    assert keys.digest(Secret(b"q" * 32), token) != expected


@pytest.mark.parametrize("pepper", [b"", b"p" * 31])
def test_a_short_pepper_is_refused(pepper):
    with pytest.raises(ValueError, match="32 bytes"):
        keys.digest(Secret(pepper), "anything")


def test_there_is_no_third_environment():
    with pytest.raises(ValueError, match="live or test"):
        keys.mint("prod", lambda count: bytes(count))


def test_a_minted_key_does_not_show_itself():
    token, public_id = mint("live", b"0123456789abcdefg")
    minted = keys.mint("live", lambda count: b"0123456789abcdefg"[:count])
    assert token not in repr(minted)
    assert keys.shown(public_id) == f"lw_vk_live_{public_id}…"
