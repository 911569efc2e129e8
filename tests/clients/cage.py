"""A network namespace with nothing in it but loopback and one port that leads to the gateway: no CLI can phone home.

A thread enters the namespace, opens the listening socket there and starts the CLI; the relay that answers the socket
stays outside. Needs root on Linux; `available()` says whether it works here.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def _enter() -> None:
    """Moves the calling thread, and what it starts, into a network namespace of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def _in_thread(function: Callable[[], T]) -> T:
    found: list[T] = []
    problems: list[BaseException] = []

    def run() -> None:
        try:
            found.append(function())
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return found[0]


@cache
def available() -> bool:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    try:
        _in_thread(_enter)
    except OSError:
        return False
    return True


class Cage:
    """`with Cage(base_url) as cage: cage.popen([...])`: the same URL leads to the gateway from inside."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._started = threading.Event()
        self._streams: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Cage:
        return self

    def popen(self, command: Any, **options: Any) -> subprocess.Popen[bytes]:
        """Starts the program inside; once per cage."""

        def start() -> tuple[socket.socket, subprocess.Popen[bytes]]:
            _enter()
            listener = socket.create_server(("127.0.0.1", self._port), backlog=256)
            return listener, subprocess.Popen(command, **options)

        listener, process = _in_thread(start)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._relay(listener)), daemon=True)
        self._thread.start()
        self._started.wait(60)
        return process

    def __exit__(self, *exc: object) -> None:
        if self._started.is_set():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(60)

    async def _relay(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connect, sock=listener)
        self._started.set()
        await self._stop.wait()
        server.close()
        for stream in list(self._streams):
            stream.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._streams |= {writer, far_writer}
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        self._streams -= {writer, far_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until it ends; an end by reset stays one."""
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()
    except OSError:
        writer.transport.abort()
