"""Which headers pass: of a request all but a list, of a response only a list. And which query parameters do not.

The decision about a name is made once and remembered; the names are the clients' and the providers' to choose, so the
memory is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import unquote_plus

from dataplane.core.keys import MARK
from dataplane.providers.echo import Echo
from dataplane.providers.families import CREDENTIALS, stays_here
from dataplane.providers.fields import Field

# Names remembered per direction; an ordinary mix of clients and providers has about 150.
REMEMBERED: Final = 4096
_NAME_LENGTH: Final = 64

_RESPONSE_NAMES: Final = frozenset(
    b"content-type content-encoding content-language request-id x-request-id x-oai-request-id apim-request-id "
    b"x-should-retry server-timing date cache-control x-reasoning-included x-models-etag "
    b"azureml-model-session".split()
)
_RESPONSE_PREFIXES: Final = (
    b"anthropic-",
    b"openai-",
    b"x-codex-",
    b"x-goog-",
    b"x-gemini-",
    b"x-ratelimit-",
    b"ratelimit",
    b"retry-after",
    b"x-ms-",
)
# Whatever its beginning, a name that speaks of credentials does not pass.
_SECRET_NAMES: Final = re.compile(rb"api-?key|authorization|cookie|secret|credential|iam|(?:^|-)(?:key|token)(?:-|$)")

# In any spelling of their separators. Google takes an account, a method and whole headers out of a query too.
_QUERY_DROPPED: Final = frozenset(
    {
        *("key", "apikey", "token", "accesstoken", "oauthtoken", "subscriptionkey", "ocpapimsubscriptionkey"),
        *("authorization", "userproject", "quotauser", "method", "httpmethod", "httpheaders"),
    }
)
_SEPARATORS: Final = re.compile(r"[^a-z0-9]")
_QUERY: Final = re.compile(r"[!$-~]*", re.ASCII)  # printable, without space, `"` and `#`

# So much of a credential in a row is told by no accident; providers show the first or last four characters.
_PART: Final = 6
_WORD: Final = re.compile(r"[^\s\"'<>(),;]+")
_MASKED: Final = re.compile(r"[*•…]|\.\.\.")

_request_passes: dict[bytes, bool] = {}
_response_passes: dict[bytes, bool] = {}


def request_fields(fields: Iterable[Field]) -> list[Field]:
    """The client's fields that go to the provider, in their order and spelling."""
    passing = []
    named: list[bytes] = []
    passes = _request_passes
    for pair in fields:
        name = pair[0]
        verdict = passes.get(name)
        if verdict is None:
            verdict = _remember(passes, name, not stays_here(name.lower()))
        if verdict:
            passing.append(pair)
        elif name.lower() == b"connection":
            named += [token.strip().lower() for token in pair[1].split(b",")]
    if named:
        dropped = frozenset(named) - {b"close", b"keep-alive"}
        passing = [pair for pair in passing if pair[0].lower() not in dropped] if dropped else passing
    return _holding_no(MARK, passing) if MARK in _lower(passing) else passing


def response_fields(fields: Iterable[Field], echo: Echo) -> list[Field]:
    """The provider's fields that go to the client. `Content-Length` is not among them: the relay frames the answer."""
    passing = []
    passes = _response_passes
    for pair in fields:
        verdict = passes.get(pair[0])
        if verdict is None:
            verdict = _remember(passes, pair[0], _response_name_passes(pair[0].lower()))
        if verdict:
            passing.append(pair)
    text = b"\n".join(map(b"\n".join, passing))
    if MARK in text.lower():
        passing = _holding_no(MARK, passing)
    if echo.is_in(text):
        passing = [pair for pair in passing if not (echo.is_in(pair[0]) or echo.is_in(pair[1]))]
    return [pair for pair in passing if pair[1] != echo.placeholder] if echo.placeholder else passing


def without_credential(text: str, credential: bytes) -> str:
    """What a provider says of a credential, without any word that repeats a part of it, masked or not. For short texts:
    each place of each word is looked up."""
    secret = credential.decode("latin-1").lower()
    return _WORD.sub(lambda word: "[redacted]" if _repeats(word[0], secret) else word[0], text)


def _repeats(word: str, secret: str) -> bool:
    word = word.lower().rstrip(".:")
    if _MASKED.search(word) or word == secret:
        return True
    return any(word[at : at + _PART] in secret for at in range(len(word) - _PART + 1))


def query_parameters(query: str, replaced: frozenset[str]) -> str:
    """The client's query without credentials and without what the provider's configuration replaces; else as it came.

    Raises ValueError for what cannot stand in a request line.
    """
    if not query:
        return ""
    if _QUERY.fullmatch(query) is None:
        raise ValueError("not a query")
    return "&".join([part for part in query.split("&") if _parameter_passes(part, replaced)])


def _parameter_passes(part: str, replaced: frozenset[str]) -> bool:
    name = unquote_plus(part.partition("=")[0]).lower()
    dropped = _SEPARATORS.sub("", name) in _QUERY_DROPPED or name in replaced
    return not dropped and MARK.decode() not in unquote_plus(part).lower()


def _response_name_passes(name: bytes) -> bool:
    listed = name in _RESPONSE_NAMES or name.startswith(_RESPONSE_PREFIXES)
    return listed and name not in CREDENTIALS and _SECRET_NAMES.search(name) is None


def _remember(memory: dict[bytes, bool], name: bytes, verdict: bool) -> bool:
    if len(name) <= _NAME_LENGTH:
        if len(memory) >= REMEMBERED:
            memory.clear()
        memory[name] = verdict
    return verdict


def _lower(fields: Sequence[Field]) -> bytes:
    """All of it in one text: nearly always no needle is in there, and one search tells."""
    return b"\n".join(map(b"\n".join, fields)).lower()


def _holding_no(needle: bytes, fields: Sequence[Field]) -> list[Field]:
    """The fields that do not hold `needle` (lower case) in any casing."""
    return [pair for pair in fields if needle not in pair[0].lower() and needle not in pair[1].lower()]
