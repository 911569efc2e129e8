"""The interface of a wire format. Implementations: one folder each; `registry.py` finds the one for a route.

1. A meter never raises on what a provider sent: it goes inert and keeps what it had.
2. Bytes in any chunking give the same result.
3. Unknown fields and events are nobody's business: they pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from dataplane.core.catalogue import Use
from dataplane.core.errors import Refusal
from dataplane.core.usage import Usage, UsageClass
from dataplane.dialects.sent import Form, SentSoFar


class DialectName(StrEnum):
    ANTHROPIC = "anthropic_messages"
    RESPONSES = "openai_responses"
    CHAT = "openai_chat"
    GEMINI = "gemini"


class Operation(StrEnum):
    """The purpose of a route. `billed` ones end in a usage record with a cost; the others are recorded at zero."""

    MESSAGES = "messages"
    COUNT_TOKENS = "count_tokens"
    RESPONSES = "responses"
    RESPONSES_COMPACT = "responses_compact"
    RESPONSES_INPUT_TOKENS = "responses_input_tokens"
    RESPONSES_STORED = "responses_stored"  # /v1/responses/{id}, its /cancel and /input_items
    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    GENERATE_CONTENT = "generate_content"
    STREAM_GENERATE_CONTENT = "stream_generate_content"  # Gemini says so in the path, not in the body
    EMBED_CONTENT = "embed_content"
    CACHED_CONTENTS = "cached_contents"
    MODELS = "models"  # answered from memory
    BUDGET = "budget"  # the caller's own, from memory too


@dataclass(frozen=True, slots=True)
class Client:
    """The program that asks, by its headers (`clients.py`). `name` is one of its table's; never refuse for "other"."""

    name: str
    version: str
    session: str


BILLED = frozenset(
    {
        Operation.MESSAGES,
        Operation.RESPONSES,
        Operation.RESPONSES_COMPACT,
        Operation.CHAT,
        Operation.EMBEDDINGS,
        Operation.GENERATE_CONTENT,
        Operation.STREAM_GENERATE_CONTENT,
        Operation.EMBED_CONTENT,
    }
)

Splice = tuple[int, int, bytes]  # replace body[start:end] by these bytes


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What a request asks for beside its model that may cost money: `asked.py`."""

    models: tuple[str, ...] = ()  # others that may answer, advise or draw, as the client wrote them
    service_tier: str = ""
    speed: str = ""
    calls: tuple[tuple[UsageClass, int], ...] = ()  # of tools that bill them, and how many at least to expect
    images: tuple[tuple[str, int], ...] = ()  # that may be drawn: model, and tokens of the largest asked for


NOTHING_ASKED: Final = Asked()


class RequestFacts(msgspec.Struct, frozen=True, gc=False):  # a frozen dataclass takes 3 µs to make, this 0.2
    """The findings of one scan of a request body. Spans are byte offsets of a JSON value (quotes included) in it.

    What a request names by id (files, stored responses, cached contents, remote images) is not in its body, so neither
    in `input_tokens_upper` nor in `input_tokens_estimate`.
    """

    model: str  # as the client wrote it, from the body or from the path; "" when there is none
    model_span: tuple[int, int] | None  # None: not in the body (Gemini)
    stream: bool
    max_output: int  # 0: not said
    asks_usage: bool  # a stream of this body will carry usage without our help
    input_tokens_upper: int  # an upper bound, from the size of what will be tokenised
    session: str  # from the body (metadata.user_id, prompt_cache_key); "" when absent
    input_tokens_estimate: int = 0  # the likely figure, billed only when the provider gave none
    nested_model_spans: tuple[tuple[int, int], ...] = ()  # further places that name the same model (Gemini batches)
    wishes: Asked = NOTHING_ASKED
    usage_splice: Splice | None = None  # what makes a chat stream carry usage; None: it does already, or may not


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """A complete answer of ours: status, headers beyond the common ones, body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Meter(Protocol):
    """Reads one answer as it passes, of a status below 300: others bill nothing. `feed` gets decoded body bytes in any
    chunking, `close` says that no more will come."""

    def feed(self, data: bytes) -> None: ...
    def close(self) -> None: ...

    @property
    def form(self) -> Form:
        """The kind of thing that it reads."""
        ...

    @property
    def complete(self) -> bool:
        """The dialect's own terminal event or object was seen: what comes after cannot change the usage."""
        ...

    @property
    def events(self) -> int:
        """Server-sent events (or 1 for a whole JSON body) seen so far."""
        ...

    @property
    def produced(self) -> int:
        """Bytes of text, reasoning and arguments seen so far: whether it is worth asking again what they cost."""
        ...

    @property
    def failed(self) -> bool:
        """An error event was seen inside a 200."""
        ...

    @property
    def kept_id(self) -> str:
        """Under which the provider keeps the answer; "" where it does not, or has not said."""
        ...

    @property
    def goes_on(self) -> bool:
        """The provider works on, whoever listens: the figures are seen later."""
        ...

    @property
    def seen(self) -> Usage:
        """The provider's figures of an answer made earlier; NO_USAGE where it shows none."""
        ...

    @property
    def content_ended(self) -> bool:
        """All that the client waits for has come; figures may follow."""
        ...

    @property
    def model(self) -> str:
        """The model that the provider says answered; "" until known."""
        ...

    @property
    def mid_event(self) -> bool:
        """The bytes so far end inside an event: a cut here leaves the client half an event, so prefer to wait for its
        end."""
        ...

    def sent_so_far(self) -> SentSoFar:
        """Returns what a client has that got all of this, for an ending of its dialect: read off when it is needed."""
        ...

    def usage(self) -> Usage:
        """As of now: the provider's figures where it gave them, else input estimate plus the output seen (METERED).

        A request that no provider read has no usage: only the caller knows that, so it must not ask.
        """
        ...


class Dialect(Protocol):
    """One wire format. Pure and stateless; meters hold the state."""

    name: DialectName

    def read_request(
        self, operation: Operation, path_model: str, body: bytes, *, surveyed: bool = False
    ) -> RequestFacts:
        """Scan once. Raises Refusal(BAD_REQUEST | MISSING_MODEL): not JSON, not an object, a top-level field twice.
        `surveyed`: a large body, and `survey` has gone over it.
        """
        ...

    def rewrite(self, body: bytes, facts: RequestFacts, *, model: str, include_usage: bool) -> bytes:
        """The same bytes with the model replaced (when it differs) and usage asked for (when told, where a chat
        stream did not ask and did not say no): nothing else moves."""
        ...

    def meter(self, operation: Operation, *, streaming: bool, facts: RequestFacts) -> Meter:
        """`streaming`: the response is an event stream (from its content type, not from the request)."""
        ...

    def refusal(self, refusal: Refusal, client: Client, request_id: str) -> ErrorResponse:
        """Before the first byte: an HTTP error in this dialect, in the shape that makes `client` stop and show the
        message."""
        ...

    def ending(self, refusal: Refusal, client: Client, request_id: str, sent: SentSoFar) -> bytes:
        """After the first byte: the dialect's own terminal event(s), so that no stream of ours just ends. For a refusal
        about a budget that is its legal end for "no more tokens", for any other an error.

        Empty when the stream was complete already, inside a plain JSON answer, which only a closed connection can cut
        short, and for a budget inside an element of a JSON array. To be written to the client in one write of its own.
        Raises TypeError for what was sent in another dialect.
        """
        ...


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A line of a list of models. `created` in Unix seconds; 0: nobody knows, which Anthropic's API says that way,
    too."""

    id: str
    owned_by: str
    created: int
    use: Use = Use.CHAT
