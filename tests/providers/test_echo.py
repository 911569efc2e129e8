"""A provider's credential is found in whatever spelling it comes back, covered without changing a length."""

from __future__ import annotations

import base64
import html
import json
import re
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.providers import echo
from dataplane.providers.echo import Echo

CREDENTIAL = b"sk-ant-api03-Qx/7+zP_own=secret&more"
ECHO = Echo(CREDENTIAL)
ORDINARY = b"sk-ant-api03-Qx/7+zP_own=secret-and-so-on-for-three-pieces-of-it"
ORDINARY_ECHO = Echo(ORDINARY)


def spellings(credential: bytes) -> dict[str, bytes]:
    text = credential.decode()
    return {
        "plain": credential,
        "shouted": credential.upper(),
        "in an address": quote(text, safe="").encode(),
        "in an address, small": quote(text, safe="").lower().encode(),
        "every byte percent": "".join(f"%{byte:02X}" for byte in credential).encode(),
        "twice percent": quote(quote(text, safe=""), safe="").encode(),
        "JSON": json.dumps(text).strip('"').replace("/", "\\/").encode(),
        "JSON, every letter": "".join(f"\\u{byte:04x}" for byte in credential).encode(),
        "JSON in JSON": "".join(f"\\\\u{byte:04X}" for byte in credential).encode(),
        "HTML": html.escape(text).encode(),
        "HTML, numbers": "".join(f"&#{byte};" for byte in credential).encode(),
        "HTML, hexadecimal": "".join(f"&#x{byte:x};" for byte in credential).encode(),
        "two bytes a letter": text.encode("utf-16-le"),
        "four bytes a letter": text.encode("utf-32-be"),
        "hexadecimal": credential.hex().encode(),
        "HEXADECIMAL": credential.hex().upper().encode(),
        "mixed": b"%%%02x" % credential[0] + credential[1:-5] + b"\\u%04x" % credential[-5] + credential[-4:],
        **{
            f"base64 behind {len(before)}": base64.b64encode(before + credential)
            for before in (b"", b"u:", b"me:", b"user:", b"Bearer ")
        },
        **{
            f"base64 of addresses, {len(before)}": base64.urlsafe_b64encode(before + credential)
            for before in (b"", b"u", b"us")
        },
        "base64 in JSON": base64.b64encode(b"u:" + credential).replace(b"/", b"\\/"),
        "base64 in an address": quote(base64.b64encode(b"u:" + credential).decode(), safe="").encode(),
    }


SPELLINGS = spellings(CREDENTIAL)
IN_PIECES = spellings(ORDINARY)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(("one", "spelt"), [(ECHO, SPELLINGS), (ORDINARY_ECHO, IN_PIECES)], ids=["whole", "pieces"])
def test_every_spelling_is_found_and_covered_with_as_many_bytes(one, spelt, spelling):
    text = b'{"error":{"message":"Incorrect key: ' + spelt[spelling] + b' given"}}'
    assert one.is_in(text)
    assert one.is_in(spelt[spelling])
    covered = one.cover(text)
    assert len(covered) == len(text)
    assert not one.is_in(covered)
    assert b"[redacted]" in covered
    assert covered.startswith(b'{"error":{"message":"Incorrect key: ')
    assert covered.endswith(b' given"}}')


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"sk-ant-api03-",
        CREDENTIAL[:-1],
        CREDENTIAL[1:],
        b'no \\u0041 \\n \\" %20 &amp; here',
        b"\xff\xfe\xff\xfe\0",
    ],
)
def test_what_is_no_credential_is_the_same_text(text):
    assert not ECHO.is_in(text)
    assert ECHO.cover(text) is text


@pytest.mark.parametrize("spelling", IN_PIECES)
def test_no_part_of_one_is_taken_for_it_and_the_whole_one_behind_is_found(spelling):
    """It is looked for by how it begins, and what follows is compared in pieces."""
    spelt = IN_PIECES[spelling]
    parts = [spelt[: len(spelt) * part // 8] for part in range(8)]
    assert not ORDINARY_ECHO.is_in(b" ".join([part[:-4] for part in parts]))
    assert ORDINARY_ECHO.cover(b" ".join([*parts, spelt]))[-4:] != spelt[-4:]


@pytest.mark.parametrize(
    "letters", [b"sk-%2525-%41%25-and-the-rest", b"\\\\x41\\u0041\\-\\\\u002d-key-key", b"&amp;&#38;&lt;key&key&amp"]
)
def test_letters_that_may_begin_another_ones_spelling_are_read_in_every_way(letters):
    echo_of_it = Echo(letters)
    for name, spelt in spellings(letters).items():
        assert echo_of_it.is_in(b"key: " + spelt + b" given"), name


def test_what_begins_like_a_credential_compiles_nothing_but_its_beginning(monkeypatch):
    compiled: list[int] = []
    compile_ = re.compile

    def noting(pattern: bytes, flags: int = 0) -> re.Pattern[bytes]:
        compiled.append(len(pattern))
        return compile_(pattern, flags)

    monkeypatch.setattr(echo, "re", SimpleNamespace(**{**vars(re), "compile": noting}))
    beginnings: set[int] = set()
    for size in (60, 240):
        compiled.clear()
        one = Echo((ORDINARY + b"x" * size)[:256])
        assert one.place_in(b"%41 " + one.needle) == 4
        encodings, both = compiled
        beginnings.add(both - encodings)
    assert len(beginnings) == 1


def test_a_placeholder_is_found_nowhere():
    for credential in (b"", b"none", b"ollama"):
        echo = Echo(credential)
        assert not echo.is_in(b"ollama: none of the models")
        assert echo.needle not in b"ollama: none \xff\xfe"


def test_a_credential_of_thousands_of_letters_is_covered_to_its_end():
    long = (b"eyJ" + b"Abc.d-e_" * 600)[:4096]
    text = b'{"m":"' + long + b'"}'
    covered = Echo(long).cover(text)
    assert len(covered) == len(text)
    assert covered.startswith(b'{"m":"[redacted]***')
    assert covered.endswith(b'**"}')
    assert b"Abc" not in covered


@given(
    st.lists(
        st.sampled_from([*SPELLINGS.values(), b"words ", b"\n", b"sk-", b"%7", b"\\", b"Bearer", b"}"]), max_size=6
    ),
    st.data(),
)
def test_however_a_text_is_cut_the_same_is_covered(parts, data):
    text = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    out, held = b"", b""
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        held += text[start:end]
        piece, held = ECHO.covered_until(held, len(held) - ECHO.open_end(held))
        out += piece
    out += ECHO.cover(held)
    assert out == ECHO.cover(text)
    assert not ECHO.is_in(out)
