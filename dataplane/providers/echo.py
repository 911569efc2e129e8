"""`Echo`: a provider's own credential where the provider repeats it, in whichever spelling.

A pod shows the credential to the provider, so that what comes back may hold it: as it is, percent-encoded (the `?key=`
of an address), escaped as JSON or HTML, in base64 (`Basic`), in hexadecimal, in two bytes a letter.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final

# Below this a configured credential is a placeholder ("none", "ollama") and may well be part of an innocent text.
TELLING_LENGTH: Final = 8

_SPELT_OUT: Final = 256  # characters; of a longer one the rest is whatever goes on from there
_BEGINS: Final = 12  # characters that a spelling is looked for by: 1 ms to compile, of a hundred characters 15 ms
_PIECE: Final = 24  # of what follows, compiled when the first such beginning comes that goes on
_AMBIGUOUS: Final = re.compile(rb"[%&\\\0]")  # a letter that may be the beginning of another's spelling
_LONGEST: Final = 11  # bytes of one character, `\\\u002f` with zeros behind it
_TELLING: Final = 8  # letters
_TELLING_ENCODED: Final = 6
_WHATEVER: Final = rb"[^\s\"'<>]{0,%d}"
_NOTHING: Final = re.compile(rb"(?!)")
_HALF_ESCAPE: Final = rb"(?:%(?:25?)?[0-9a-f]?|\\{1,3}(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?|&[#a-zA-Z0-9]{0,5})?"
_WORD: Final = b"[redacted]"
NOWHERE: Final = b"\xff\xfe\xff\xfe"  # in no text at all
_HTML: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
# What all spellings begin with but the plain one and base64.
_SPELLING: Final = re.compile(rb"%|&|\0|\\[ux/\\]")
_ESCAPES: Final = b"%\\&#;\0+/=_-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Echo:
    """Of one credential; where that is no telling one, nothing is ever found.

    For who has time for one look only: `needle` is its plain spelling, `word` that in lower case. `placeholder`: one
    that tells nothing.
    """

    __slots__ = (
        *(
            "_beginning",
            "_encoded",
            "_encodings",
            "_head",
            "_letters",
            "_lower",
            "_reach",
            "_rest",
            "_shortest",
            "_whole",
        ),
        *("needle", "placeholder", "word"),
    )

    def __init__(self, credential: bytes) -> None:
        telling = credential if len(credential) >= TELLING_LENGTH else b""
        self.needle = telling or NOWHERE
        self.placeholder = credential if credential and not telling else b""
        self._lower = self.needle.lower()
        self.word = self._lower.decode("latin-1")
        self._encoded = _encodings(telling)
        self._shortest = min([_SPELT_OUT, len(self.needle), *map(len, self._encoded)])
        self._letters = bytes(set(_ESCAPES + telling))
        self._reach = _LONGEST * len(telling)
        self._beginning: re.Pattern[bytes] | None = None
        # Compiled for the first text that could hold it.
        self._head: re.Pattern[bytes] | None = None
        self._encodings: re.Pattern[bytes] = _NOTHING
        self._rest: list[re.Pattern[bytes]] = []
        self._whole: re.Pattern[bytes] | None = None

    def is_in(self, text: bytes) -> bool:
        return len(text) >= self._shortest and self._search(text, 0) is not None

    def place_in(self, text: bytes) -> int:
        """Where it begins; -1: nowhere."""
        place = self._search(text, 0)
        return -1 if place is None else place[0]

    def open_end(self, text: bytes) -> int:
        """How many bytes at the end of `text` may be the beginning of one."""
        word = text[len(text.rstrip(self._letters)) :][-self._reach :]
        if not word or self.needle is NOWHERE:
            return 0
        if self._beginning is None:
            self._beginning = _beginnings(self.needle, self._encoded)
        match = self._beginning.search(word)
        return 0 if match is None else len(word) - match.start()

    def cover(self, text: bytes) -> bytes:
        """With a word of ours, of the same length, in each one's place: no length that was declared becomes wrong.
        Returns `text` itself where there is none."""
        return self.covered_until(text, len(text))[0]

    def covered_until(self, text: bytes, end: int) -> tuple[bytes, bytes]:
        """`cover` for what begins before `end`, and the rest of `text`: `end` cuts none in two."""
        pieces: list[bytes] = []
        at = 0
        place = self._search(text, 0)
        while place is not None and place[0] < end:
            pieces += (text[at : place[0]], _word(place[1] - place[0]))
            at = place[1]
            place = self._search(text, at)
        if not pieces:
            return (text, b"") if end == len(text) else (text[:end], text[end:])
        end = max(end, at)
        return b"".join((*pieces, text[at:end])), text[end:]

    def _search(self, text: bytes, at: int) -> tuple[int, int] | None:
        """Where the next one begins and ends."""
        if self.needle is NOWHERE:
            return None
        if not at and not _spelt_out(text) and self._lower not in text.lower():
            for encoded in self._encoded:
                if encoded in text:
                    break
            else:
                return None
        if self._head is None:
            self._encodings = _any_of(self._encoded)
            beginning = _spelt_letters(self.needle[:_BEGINS])
            self._head = re.compile(b"(?i:" + beginning + b")|(" + self._encodings.pattern + b")")
        while True:
            match = self._head.search(text, at)
            if match is None or match[1] is not None:
                return None if match is None else match.span()
            end = self._end(text, *match.span())
            if end >= 0:
                return match.start(), end
            at = match.start()
            if encoded_too := self._encodings.match(text, at):
                return encoded_too.span()
            at += 1

    def _end(self, text: bytes, begin: int, at: int) -> int:
        """Of what begins as a spelling does; -1: it is none."""
        needle = self.needle
        size = len(needle)
        if size <= _SPELT_OUT and text[begin : begin + size].lower() == self._lower:
            return begin + size
        for number, first in enumerate(range(_BEGINS, min(size, _SPELT_OUT), _PIECE)):
            if number == len(self._rest):
                piece = _spelt_letters(needle[first : min(first + _PIECE, _SPELT_OUT)])
                self._rest.append(re.compile(rb"\0{0,3}" + piece, re.IGNORECASE))
            match = self._rest[number].match(text, at)
            if match is None:
                return self._end_of_ambiguous(text, begin)
            at = match.end()
        return at if size <= _SPELT_OUT else _goes_on(text, at, size - _SPELT_OUT)

    def _end_of_ambiguous(self, text: bytes, begin: int) -> int:
        """Where pieces do not fit, another way to read the letters before them may."""
        if _AMBIGUOUS.search(self.needle) is None:
            return -1
        if self._whole is None:
            self._whole = re.compile(_spelt_letters(self.needle), re.IGNORECASE)
        match = self._whole.match(text, begin)
        return -1 if match is None else match.end()


def _spelt_out(text: bytes) -> bool:
    """Whether there is any spelling in it but the plain one and base64."""
    some = b"%" in text or b"\\" in text or b"&" in text or b"\0" in text
    return some and _SPELLING.search(text) is not None


def _word(length: int) -> bytes:
    return (_WORD + b"*" * length)[:length] if length >= len(_WORD) else b"*" * length


def _encodings(credential: bytes) -> tuple[bytes, ...]:
    """What base64 of any text with the credential in it has in common, by where in a group of three it begins; and
    hexadecimal."""
    if not credential:
        return ()
    texts = []
    for before in range(3):
        whole = b64encode(b"\0" * before + credential)
        begins = (before * 8 + 5) // 6
        texts.append(whole[begins : (before + len(credential)) * 8 // 6])
    in_address = [text.replace(b"+", b"-").replace(b"/", b"_") for text in texts]
    hexadecimal = credential.hex().encode()
    return tuple(dict.fromkeys((*texts, *in_address, hexadecimal, hexadecimal.upper())))


def _beginnings(credential: bytes, encoded: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """What a text ends with that stops inside a spelling. Behind so many letters anything may be the rest of one."""
    plain = _stopping([_spelt(chr(byte)) + rb"\0{0,3}" for byte in credential[:_TELLING]], _HALF_ESCAPE)
    texts = [[_in_base64(text[at : at + 1]) for at in range(len(text[:_TELLING_ENCODED]))] for text in encoded]
    others = [_stopping(units, _HALF_ESCAPE) for units in texts]
    return re.compile(b"(?:(?i:" + plain + b")|" + b"|".join(others) + rb")\Z")


def _stopping(units: list[bytes], half: bytes) -> bytes:
    """One after the other, up to any of them, or half of one."""
    pattern = rb"[^\s\"'<>]*"
    for unit in reversed(units):
        pattern = b"(?:" + unit + pattern + b"|" + half + b")"
    return pattern


def _spelt_letters(letters: bytes) -> bytes:
    spelt = rb"\0{0,3}".join([_spelt(chr(byte)) for byte in letters[:_SPELT_OUT]])
    rest = len(letters) - _SPELT_OUT
    return spelt if rest <= 0 else spelt + _WHATEVER % (rest * _LONGEST)


def _goes_on(text: bytes, at: int, letters: int) -> int:
    match = re.compile(_WHATEVER % (letters * _LONGEST)).match(text, at)
    return match.end() if match is not None else at


def _any_of(encoded: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(map(_in_base64, encoded)))


def _spelt(letter: str) -> bytes:
    number = ord(letter)
    code = f"{number:02x}"
    ways = [
        re.escape(letter) if letter.isalnum() else r"\\{0,3}" + re.escape(letter),
        f"%(?:25)?{code}",
        rf"\\{{1,3}}(?:u00|x){code}",
        f"&#(?:0?{number}|x0?{code});",
        *([_HTML[letter]] if letter in _HTML else []),
    ]
    return f"(?:{'|'.join(ways)})".encode("latin-1")


def _in_base64(text: bytes) -> bytes:
    slash, plus = rb"(?:\\{0,3}/|%2[Ff]|\\{1,3}u002[Ff])", rb"(?:\+|%2[Bb]|\\{1,3}u002[Bb])"
    return re.escape(text).replace(b"/", slash).replace(rb"\+", plus)
