"""A provider's credential is found in whatever spelling it comes back, covered without changing a length."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.providers.echo import Echo

CREDENTIAL = b"sk-ant-api03-Qx/7+zP_own=secret&more"
ECHO = Echo(CREDENTIAL)
TEXT = CREDENTIAL.decode()

SPELLINGS: dict[str, bytes] = {
    "plain": CREDENTIAL,
    "shouted": CREDENTIAL.upper(),
    "in an address": quote(TEXT, safe="").encode(),
    "in an address, small": quote(TEXT, safe="").lower().encode(),
    "every byte percent": "".join(f"%{byte:02X}" for byte in CREDENTIAL).encode(),
    "twice percent": quote(quote(TEXT, safe=""), safe="").encode(),
    "JSON": json.dumps(TEXT).strip('"').replace("/", "\\/").encode(),
    "JSON, every letter": "".join(f"\\u{byte:04x}" for byte in CREDENTIAL).encode(),
    "JSON in JSON": "".join(f"\\\\u{byte:04X}" for byte in CREDENTIAL).encode(),
    "HTML": html.escape(TEXT).encode(),
    "HTML, numbers": "".join(f"&#{byte};" for byte in CREDENTIAL).encode(),
    "HTML, hexadecimal": "".join(f"&#x{byte:x};" for byte in CREDENTIAL).encode(),
    "two bytes a letter": TEXT.encode("utf-16-le"),
    "four bytes a letter": TEXT.encode("utf-32-be"),
    "hexadecimal": CREDENTIAL.hex().encode(),
    "HEXADECIMAL": CREDENTIAL.hex().upper().encode(),
    "mixed": b"%73k-" + CREDENTIAL[3:-5] + b"\\u0026more",
    **{
        f"base64 behind {len(before)}": base64.b64encode(before + CREDENTIAL)
        for before in (b"", b"u:", b"me:", b"user:", b"Bearer ")
    },
    **{
        f"base64 of addresses, {len(before)}": base64.urlsafe_b64encode(before + CREDENTIAL)
        for before in (b"", b"u", b"us")
    },
    "base64 in JSON": base64.b64encode(b"u:" + CREDENTIAL).replace(b"/", b"\\/"),
    "base64 in an address": quote(base64.b64encode(b"u:" + CREDENTIAL).decode(), safe="").encode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_found_and_covered_with_as_many_bytes(spelling):
    spelt = SPELLINGS[spelling]
    text = b'{"error":{"message":"Incorrect key: ' + spelt + b' given"}}'
    assert ECHO.is_in(text)
    covered = ECHO.cover(text)
    assert len(covered) == len(text)
    assert not ECHO.is_in(covered)
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
