"""The one way out to addresses that tenants chose: connects to the address that was checked, follows nothing.

No proxy, no redirect, no retry; one deadline over everything; of the answer only its beginning is read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from controlplane.environment import environment
from controlplane.providers import ssrf

TIMEOUT_S = 10.0  # for each step
DEADLINE_S = 15.0  # for all of them
MOST_BYTES = 256 * 1024  # of the answer, unless the caller wants more; the rest is not read
_PORTS = {"https": 443, "http": 80}


class Unreachable(Exception):
    """Nobody answered. The message is for people and never holds more than a host name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`body`: its beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def call(
    method: str,
    url: ssrf.BaseUrl,
    *,
    path: str = "",
    query: str = "",
    headers: Mapping[str, str],
    content: bytes = b"",
    switch: str = ssrf.PROVIDERS,
    most_bytes: int = MOST_BYTES,
) -> Answer:
    """`path` and `query` are added to the URL's; `switch` says whose private networks may be reached.

    Raises ssrf.UnsafeUrl or Unreachable.
    """
    address = ssrf.resolve(url, private_allowed=private_allowed(switch), switch=switch)
    shown = f"[{address}]" if ":" in address else address
    named = f"[{url.host}]" if ":" in url.host else url.host
    request = httpx.Request(
        method,
        f"{url.scheme}://{shown}:{url.port}{url.path}{path}" + (f"?{query}" if query else ""),
        headers={
            **headers,
            "host": named if url.port == _PORTS[url.scheme] else f"{named}:{url.port}",
            "accept-encoding": "identity",
        },
        content=content or None,
        extensions={"sni_hostname": url.host, "timeout": httpx.Timeout(TIMEOUT_S).as_dict()},
    )
    try:
        return _answered(request, most_bytes)
    except httpx.TimeoutException:
        raise Unreachable(f"{url.host} did not answer within {TIMEOUT_S:g} s.") from None
    except httpx.TransportError as error:
        raise Unreachable(f"{url.host} could not be reached ({type(error).__name__}).") from None


def private_allowed(switch: str) -> bool:
    """What the operator says by this setting."""
    settings = environment()
    return {ssrf.PROVIDERS: settings.allow_private_providers, ssrf.WEBHOOKS: settings.allow_private_webhooks}[switch]


def _answered(request: httpx.Request, most_bytes: int) -> Answer:
    transport = httpx.HTTPTransport()
    # Timeouts are of single reads: who sends a byte now and then would hold this thread for ever.
    end = threading.Timer(DEADLINE_S, transport.close)
    end.daemon = True
    end.start()
    deadline = time.monotonic() + DEADLINE_S
    try:
        response = transport.handle_request(request)
        pieces: list[bytes] = []
        read = 0
        for piece in response.iter_raw():
            pieces.append(piece[: most_bytes - read])
            read += len(piece)
            if read >= most_bytes or time.monotonic() > deadline:
                break
        response.close()
        return Answer(response.status_code, dict(response.headers), b"".join(pieces))
    finally:
        end.cancel()
        transport.close()
