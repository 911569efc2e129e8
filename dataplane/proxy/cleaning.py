"""A provider's credential in its own answers: covered in errors, noticed anywhere else.

An error's body, and an error event inside a stream, leave with a word in the credential's place. Other content passes
byte for byte, whatever it holds: that somebody repeats a credential there is told, and logged. What has nothing to hide
passes as it came, but that the end of a piece which could be the beginning of a credential waits for the next one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from dataplane.dialects.json_array import JsonArraySplitter
from dataplane.dialects.opening import begins_as_error, end_of_event, payload
from dataplane.dialects.scan import decoded
from dataplane.dialects.sent import Form
from dataplane.providers.echo import NOWHERE, Echo
from dataplane.proxy.http.codings import Decoder, Malformed, TooLarge, coding_of
from dataplane.proxy.provider.connection import Response, UpstreamFailure

ERRORS: Final = 300  # redirections are none of ours to follow, and as talkative
_MOST_KEPT: Final = 16 * 1024  # bytes of one event: a longer one is judged by its beginning; errors have 2,000
_ERROR_LINE: Final = re.compile(rb"(?:^|\n)event:[ ]?(?:error|response\.failed)[ ]*(?:\r|\n|$)")
_ERROR_TYPES: Final = ("error", "response.failed")

Notice = Callable[[bool], None]  # called with: it was covered


class Cleaner(Protocol):
    """Looks at an answer on its way to the client. `busy`: the next piece has to be seen, whatever it holds; while it
    is not, one that ends its line and holds neither `needle` nor the word "error" needs no looking at."""

    needle: bytes
    busy: bool

    def feed(self, body: bytes, *, last: bool) -> bytes:
        """Returns what may leave by now, `body` itself where nothing is the matter. Raises Sealed."""
        ...

    def rest(self) -> bytes:
        """Nothing more will come: what was held back and may leave."""
        ...


class Sealed(Exception):
    """What would have to be covered is compressed. The text is fit for a client."""


class ErrorBody:
    """Of an answer that is an error: covers all of it."""

    __slots__ = ("_echo", "_held", "_notice", "busy", "needle")

    def __init__(self, echo: Echo, notice: Notice) -> None:
        self.needle = echo.needle
        self.busy = True
        self._echo = echo
        self._notice = notice
        self._held = b""

    def feed(self, body: bytes, *, last: bool) -> bytes:
        text = self._held + body if self._held else body
        keep = 0 if last else self._echo.open_end(text)
        covered, self._held = self._echo.covered_until(text, len(text) - keep)
        if covered is not text and not text.startswith(covered):
            self._notice(True)
        return covered

    def rest(self) -> bytes:
        return self.feed(b"", last=True)


class Content:
    """Of one JSON answer that is none: notices."""

    __slots__ = ("_end", "_notice", "_told", "busy", "needle")
    holds = False

    def __init__(self, echo: Echo, notice: Notice) -> None:
        self.needle = echo.needle
        self.busy = True
        self._notice = notice
        self._end = b""
        self._told = False

    def feed(self, body: bytes, *, last: bool) -> bytes:
        if self._told:
            return body
        needle = self.needle
        if last and not self._end:  # nearly all: it came at once
            if needle in body:
                self._notice(False)
        else:
            joint = self._end + body[: len(needle) - 1] if self._end else b""
            if needle in body or needle in joint:
                self._told = True
                self._notice(False)
            end = len(needle) - 1
            self._end = body[-end:] if len(body) >= end else (self._end + body)[-end:]
        return body

    def rest(self) -> bytes:
        return b""


class Unseen:
    """Of an answer that nobody looks into."""

    __slots__ = ()
    needle = NOWHERE
    busy = True

    def feed(self, body: bytes, *, last: bool) -> bytes:
        return body

    def rest(self) -> bytes:
        return b""


class Events:
    """Of a stream: covers its errors, notices the rest."""

    __slots__ = ("_array", "_before", "_echo", "_held", "_notice", "busy", "needle")

    def __init__(self, echo: Echo, notice: Notice, form: Form) -> None:
        self.needle = echo.needle
        self.busy = False
        self._echo = echo
        self._notice = notice
        self._array = JsonArraySplitter() if form is Form.ARRAY else None
        self._before = b""  # of the event that is open: what has left, as far as that is kept
        self._held = b""

    @property
    def holds(self) -> bool:
        return bool(self._held)

    def feed(self, body: bytes, *, last: bool) -> bytes:
        ended = body.endswith(b"\n\n") if last else body.endswith(b"\n")
        if ended and not self.busy and b"error" not in body and self.needle not in body:
            return body
        text = self._held + body if self._held else body
        if self._array is not None:
            passing = self._elements(text, self._array.feed(body), self._array.mid_event and not last, last)
        else:
            passing = self._events(text, last)
        self.busy = self._array is not None or bool(self._held or self._before)
        return passing

    def rest(self) -> bytes:
        return self.feed(b"", last=True)

    def _events(self, text: bytes, last: bool) -> bytes:
        """Looks into the event that was open, into those that speak of an error or hold the needle, and into the one
        that stays open: of hundreds in a read nearly always two."""
        edits: list[tuple[int, int, bytes]] = []
        at = 0
        if self._before:
            at = self._end_of_open(text)
            if at < 0:
                return self._open(text, last)
            came = text[:at]
            if (passing := self._whole(came, self._before + came)) is not came:
                edits.append((0, at, passing))
            self._before = b""
        needle = text.find(self.needle, at)
        while True:
            error = text.find(b"error", at, needle if needle >= 0 else len(text))
            place = error if error >= 0 else needle
            end = end_of_event(text, place) if place >= 0 else -1
            if end < 0:
                break
            begin = begin_of_event(text, at, place)
            event = text[begin:end]
            if (passing := self._whole(event, event)) is not event:
                edits.append((begin, end, passing))
            at = end
            if 0 <= needle < at:
                needle = text.find(self.needle, at)
        begin = begin_of_event(text, at, len(text))
        came = text[begin:]
        if (passing := self._open(came, last)) is not came:
            edits.append((begin, len(text), passing))
        return edited(text, edits) if edits else text

    def _end_of_open(self, text: bytes) -> int:
        """Where in `text` the event that is open ends; the blank line may have begun with what has left."""
        joint = self._before[-3:]
        end = end_of_event(joint + text[:4], 0)
        return end - len(joint) if end >= 0 else end_of_event(text, 0)

    def _whole(self, came: bytes, event: bytes) -> bytes:
        """`came`: what of the event has not left."""
        covered = self._echo.cover(came)
        if covered is came:
            return came
        error = is_error(event)
        self._notice(error)
        return covered if error else came

    def _open(self, came: bytes, last: bool) -> bytes:
        """`came`: what has not left of the event that has not ended."""
        event = self._before + came
        place = self._echo.place_in(came)
        decides = last or len(event) > _MOST_KEPT
        if place >= 0 and not decides:
            passing, self._held = split(came, len(came) - place)  # what kind of event it is shows when it is whole
        else:
            keep = 0 if last else self._echo.open_end(came)
            passing, self._held = self._echo.covered_until(came, len(came) - keep)
            if place >= 0:
                error = is_error(event) if last else begins_as_error(event)
                self._notice(error)
                passing = passing if error else came[: len(passing)]
        left = self._before + passing
        if last:
            left = b""
        elif len(left) > _MOST_KEPT:
            left = left[: _MOST_KEPT - 3] + left[-3:]  # how it begins, and what may be half of its end
        self._before = left
        return passing

    def _elements(self, text: bytes, whole: list[bytes], inside: bool, last: bool) -> bytes:
        """Of an array there are no blank lines: an error is an element, or the one object instead of an array."""
        place = self._echo.place_in(text)
        if place >= 0 and inside and len(text) <= _MOST_KEPT:
            passing, self._held = split(text, len(text) - place)
            return passing
        keep = 0 if last else self._echo.open_end(text)
        passing, self._held = self._echo.covered_until(text, len(text) - keep)
        if place >= 0:
            error = any(map(is_error_object, whole))
            self._notice(error)
            passing = passing if error else text[: len(passing)]
        return passing


class Packed:
    """Of a compressed answer: what is in there is looked at, what leaves are its own bytes.

    Where an error would have to be covered, or nobody can tell whether, it ends: `Sealed`.
    """

    __slots__ = ("_decoder", "_held", "_inner", "_told", "busy", "needle")

    def __init__(self, echo: Echo, notice: Notice, form: Form, decoder: Decoder) -> None:
        came: set[bool] = set()  # not ourselves: the two would wait for the garbage collector together

        def noticed(covered: bool) -> None:
            came.add(covered)
            notice(covered)

        self.needle = echo.needle
        self.busy = True
        self._told = came
        self._decoder: Decoder | None = decoder
        self._inner = Content(echo, noticed) if form is Form.WHOLE else Events(echo, noticed, form)
        self._held = b""

    def feed(self, body: bytes, *, last: bool) -> bytes:
        if self._decoder is None:
            return body
        try:
            self._inner.feed(self._decoder.read(body), last=last)
        except (TooLarge, Malformed):
            if isinstance(self._inner, Events):
                raise Sealed("the provider's answer is compressed in a way that cannot be looked into") from None
            self._decoder = None
        if True in self._told:
            raise Sealed("the provider's answer repeats its credential, compressed")
        wire = self._held + body if self._held else body
        if self._inner.holds:
            self._held = wire
            return b""
        self._held = b""
        return wire

    def rest(self) -> bytes:
        held, self._held = self._held, b""
        return held


def begin_of_event(text: bytes, at: int, place: int) -> int:
    """Of the one that `place` is in, or that begins there; `at` is where one begins."""
    plain = text.rfind(b"\n\n", at, place)
    windows = text.rfind(b"\r\n\r\n", max(at, plain), place)
    return max(plain + 2 if plain >= 0 else at, windows + 4 if windows >= 0 else at)


def edited(text: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    """With other bytes from one place to another, in their order."""
    pieces: list[bytes] = []
    at = 0
    for begin, end, passing in edits:
        pieces += (text[at:begin], passing)
        at = end
    return b"".join((*pieces, text[at:]))


def split(text: bytes, keep: int) -> tuple[bytes, bytes]:
    """All but the last `keep` bytes, and those."""
    return (text[:-keep], text[-keep:]) if keep else (text, b"")


def is_error(event: bytes) -> bool:
    """Of one server-sent event, whole."""
    return _ERROR_LINE.search(event) is not None or is_error_object(payload(event) or event)


def is_error_object(text: bytes) -> bool:
    value = decoded(text)
    if isinstance(value, list):
        value = value[0] if value else None
    return isinstance(value, dict) and (value.get("type") in _ERROR_TYPES or bool(value.get("error")))


def cleaner_of(echo: Echo, notice: Notice, response: Response, form: Form, most_bytes: int) -> Cleaner:
    """For the answer with this head. Raises UpstreamFailure for a stream whose compression nobody can read."""
    coding = coding_of(response.head)
    if response.head.status >= ERRORS:
        return Unseen() if coding else ErrorBody(echo, notice)  # what is compressed was looked at before (`readable`)
    if not coding:
        return Content(echo, notice) if form is Form.WHOLE else Events(echo, notice, form)
    try:
        return Packed(echo, notice, form, Decoder(coding, most_bytes))
    except KeyError:
        if form is Form.WHOLE:
            return Unseen()
        response.abort()
        raise UpstreamFailure("the provider's answer is compressed in a way that cannot be read") from None
