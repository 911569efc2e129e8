"""Every bound of the proxy: one declaration, its unit in the name, its reason beside the number."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from dataplane.proxy.operators import Network

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every bound of the proxy, in seconds, bytes or counts. The reason stands beside the number."""

    # Who sees a pod's particulars.
    operators: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

    # What a client may send.
    head_bytes: int = 64 * KIB  # Claude Code's largest heads are 3 KiB; proxies in front add cookies
    head_fields: int = 128  # the longest seen from a CLI is 31
    target_bytes: int = 8 * KIB
    body_bytes: int = 32 * MIB  # the providers' own limit (Anthropic: 32 MB)
    body_ratio: int = 200  # decoded : encoded; JSON compresses to about 1 : 20, bombs to 1 : 1000
    chunk_extension_bytes: int = 256  # per chunk; nobody sends any
    trailer_bytes: int = 8 * KIB
    connections: int = 10_000
    exchanges: int = 2_000  # open at once; beyond it 503 before anything is read
    line_s: float = 0.25  # the first in line has waited so long: newcomers get 503 until it is shorter
    bodies_bytes: int = 512 * MIB  # of all requests whose provider has not answered yet; beyond it 503
    pipelined_bytes: int = 64 * KIB  # kept while an exchange runs, then the socket is left unread

    # What the kernel takes of an answer beyond what the client's own has room for; left to itself, 2 to 4 MB,
    # and a meter keeps as much of an event, or of an answer in one piece.
    unsent_bytes: int = 32 * KIB

    # How long a client may take.
    head_s: float = 10  # from the first byte of a head to its last; and for TLS to be agreed on
    body_window_s: float = 30  # a body must advance by `body_rate` × this in each such window
    body_rate: int = KIB  # bytes per second
    body_s: float = 120  # a whole body, however steadily it comes: the largest at 2.2 Mbit/s
    client_idle_s: float = 75  # kept-alive connection without a request; above the usual 60 s of load balancers
    client_stall_s: float = 300  # running response that the client does not read
    linger_s: float = 5  # after an early answer, between two bytes that are read off; `body_window_s` in all

    # The way to the provider.
    connect_s: float = 5  # resolve, connect, TLS
    first_byte_s: float = 600  # an answer in one piece may take minutes; the SDKs' own limit is the same
    idle_s: float = 600  # between two bytes of a response: thinking models are silent for minutes
    reading_on_s: float = 5  # for figures, when the client has gone with all of the content; they come within one
    stale_cut_ms: int = (
        55_000  # age of the configuration at which `cut_on_stale` ends streams: inside the promised 60 s
    )
    upstream_head_bytes: int = 64 * KIB
    interim_heads: int = 10  # 100 Continue, 103 Early Hints: before one answer; nobody sends more than two
    interim_bytes: int = 64 * KIB  # of them all
    upstream_per_host: int = 1_000  # connections
    upstream_connecting: int = 32  # of them, at a time: a handshake with TLS takes 1 ms of our core
    upstream_line: int = 1_000  # requests waiting for one of them; beyond it 503
    upstream_waiting_s: float = 5  # for a free one of them
    upstream_idle_s: float = 55  # below the 60 s at which providers' balancers hang up

    # The end of a pod.
    pre_drain_s: float = 5  # unready but still accepting: balancers need a probe interval to notice
    drain_s: float = 900  # running streams may finish
