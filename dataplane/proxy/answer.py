"""A provider's answer as a channel is given it: the client's head, who listens, and what stands between the sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

from dataplane.core.errors import Refusal
from dataplane.core.usage import Outcome
from dataplane.dialects.dialect import Meter
from dataplane.dialects.filter import Filter
from dataplane.proxy.cleaning import Cleaner, Unseen
from dataplane.proxy.hearing import ErrorJudge
from dataplane.proxy.http.framing import Length
from dataplane.proxy.http.heads import Field
from dataplane.proxy.provider.connection import Response
from dataplane.proxy.provider.refused import Refused

# What is no longer true of a body that filters may change.
_OF_THE_BYTES: Final = frozenset(
    b"content-length content-encoding content-md5 content-digest repr-digest digest etag".split()
)


class AnswerWatcher(Protocol):
    """Hears how it went."""

    def first_byte(self) -> None: ...

    def settle(self, outcome: Outcome, refusal_code: str = "", refusal_budget_id: str = "") -> None:
        """The last word on this answer; further calls change nothing."""
        ...

    def reads_on(self) -> float:
        """Seconds to read on when the client has gone, since the figures are on their way; 0: not at all."""
        ...

    def refused(self, refused: Refused, *, answer: bool) -> None:
        """The provider refuses the organization: nothing is owed. `answer`: nothing has left, so say it by HTTP."""
        ...

    def refuse(self, refusal: Refusal, outcome: Outcome) -> None:
        """Nothing has left: settle, and say it by HTTP."""
        ...


class Filtered(NamedTuple):
    """The filters of an answer, in their order from the provider to the client."""

    filters: tuple[Filter, ...]
    reader: Meter  # of the client's dialect: follows the bytes that are sent
    reserve: Callable[[int], None]  # so many bytes are held back by now; raises Refusal when there is no room
    whole: bool = False  # one JSON answer: collected, and sent with its length


class Answer(NamedTuple):
    """What a channel passes on."""

    response: Response
    head: bytes  # the client's, encoded
    meter: Meter  # hears what the provider says
    chunked: bool  # to the client
    most_bytes: int  # of the decoded form of a compressed answer, and of one that is collected
    streaming: bool = False  # its head goes ahead, whenever its first event comes
    judge: ErrorJudge | None = None  # of a stream: hears the errors that it may begin with
    looks: tuple[Callable[[], None], ...] = ()  # called after every read, once the meter has heard it
    filtered: Filtered | None = None  # else it passes wire to wire
    cleaner: Cleaner = Unseen()  # what leaves passes it last


class Framed(NamedTuple):
    """How the client will know where the body ends; without either, by its length."""

    chunked: bool
    closes: bool  # with its connection


def framed(response: Response, *, http10: bool, filtered: Filtered | None = None) -> Framed:
    """An answer of unknown length is chunked, so that its end can be told from a break; HTTP/1.0 cannot."""
    has_length = isinstance(response.framing, Length) if filtered is None else filtered.whole
    return Framed(chunked=not has_length and not http10, closes=not has_length and http10)


def fields_under_filters(fields: Iterable[Field]) -> list[Field]:
    """The fields of a provider's head that hold for other bytes too; a length comes with the body, where it has one."""
    return [field for field in fields if field[0].lower() not in _OF_THE_BYTES]
