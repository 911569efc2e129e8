"""Which key a request presents. It may stand in any of five places on any route; the one with our prefix counts."""

from __future__ import annotations

from urllib.parse import parse_qsl

from dataplane.core import keys
from dataplane.core.errors import Code, Refusal
from dataplane.core.secret import Secret
from dataplane.proxy.http.heads import Head

# Fields that carry a credential of the client: read here, sent nowhere.
FIELDS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})


def presented(head: Head, query: str) -> Secret:
    """The credential to check; empty when there is none. Raises Refusal when two different ones are ours."""
    if len(head.first) == len(head.fields):  # nothing came twice
        fields = [head.first[name] for name in FIELDS & head.first.keys()]
    else:
        fields = [value for name, value in head.fields if name.lower() in FIELDS]
    values = [value[7:].strip() if value[:7].lower() == b"bearer " else value for value in fields]
    if "key=" in query:
        values += [value.encode() for name, value in parse_qsl(query, max_num_fields=100) if name == "key"]
    ours = {value for value in values if value.startswith(keys.MARK)}
    if len(ours) > 1:
        raise Refusal(Code.CONFLICTING_API_KEYS, "two different virtual keys came in one request; send one of them")
    if ours:
        return Secret(ours.pop())
    return Secret(next((value for value in values if value), b""))
