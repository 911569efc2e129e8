"""No body larger than any form or API body of ours is taken, whether it says its length or not.

Around Django: by itself it writes all of a body to a temporary file before it looks at anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from controlplane.rest import request_ids
from controlplane.web.answers import refused

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class _TooLarge(Exception):
    """More of a body came than is taken."""


class BodyLimit:
    """An ASGI application around another one. `most`: bytes."""

    def __init__(self, application: Application, most: int) -> None:
        self._application, self._most = application, most

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._application(scope, receive, send)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._most:
            return await self._refuse(scope, send)
        try:
            await self._application(scope, self._counting(receive), send)
        except _TooLarge:
            await self._refuse(scope, send)

    def _counting(self, receive: Receive) -> Receive:
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._most:
                raise _TooLarge
            return message

        return counted

    async def _refuse(self, scope: MutableMapping[str, Any], send: Send) -> None:
        """The rest of the body is not read, so the connection ends."""
        with request_ids.minted() as request_id:
            answer = refused(scope["path"], 413)
        words = {**answer.headers, request_ids.HEADER: request_id, "Connection": "close"}
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in words.items()]
        headers.append((b"content-length", str(len(answer.content)).encode()))
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content})
