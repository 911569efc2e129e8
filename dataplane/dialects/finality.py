"""A refusal that is final, said so that opencode takes it as final.

opencode tries again, five times over a minute and without a word to its user, whatever error holds a status number or
words of a passing trouble *anywhere* in its message or body: in an amount ("$500.00"), a name, an id. Source:
`SessionRetry` of 1.18.33.
"""

from __future__ import annotations

import re
from typing import Final

from dataplane.core.errors import Refusal
from dataplane.dialects import clients
from dataplane.dialects.dialect import Client

_PASSING: Final = re.compile(
    r"429|500|502|503|504|524"
    r"|rate increased too quickly|rate[ _-]limit|too many requests|too_many_requests"
    r"|overloaded|unavailable|exhausted|internal[ _]error|internal server error|server[ _-]error"
    r"|provider[ _-]returned[ _-]error|terminated|fetch failed|failed to fetch|network[-_\s]error|upstream connect"
    r"|connection (?:error|refused|lost)|socket (?:connection was closed|hang up)|reset before headers|getaddrinfo"
    r"|enotfound|eai_again|econnrefused|econnreset|etimedout"
    r"|(?:try|retry) your request|try again|timeout|timed out|time out|(?:temporarily|currently) at capacity",
    re.IGNORECASE,
)
_JOINER: Final = "\u2060"  # WORD JOINER: has no width and breaks no line
_FOR_HEADERS: Final = ("allow", "scope")


def takes_ids_for_troubles(client: Client, refusal: Refusal) -> bool:
    """True when nothing but words may stand in the body; the request id is in the headers too."""
    return client.name == clients.OPENCODE and not refusal.retryable


def heard_by(client: Client, refusal: Refusal) -> Refusal:
    """The refusal to render.

    A final one for opencode gets an invisible joiner inside every part of its words that would be taken for a passing
    trouble, and loses the facts that only programs read.
    """
    if not takes_ids_for_troubles(client, refusal):
        return refusal
    words = refusal.message
    while _PASSING.search(words):  # 50429 holds two of them, one over the other
        words = _PASSING.sub(lambda match: match[0][0] + _JOINER + match[0][1:], words)
    return Refusal(refusal.code, words, meta={key: refusal.meta[key] for key in _FOR_HEADERS if key in refusal.meta})
