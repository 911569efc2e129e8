"""Says back what arrived, as careless providers do: headers with the credential, the body without it."""

from __future__ import annotations

import hashlib
import json

from tests.simprovider.wire import Headers, Request

CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization")


def echoed_headers(request: Request) -> Headers:
    return [(f"x-echo-{name.lower()}", value) for name, value in request.headers]


def echoed_text(request: Request, how: str) -> str:
    headers = [[name, value] for name, value in request.headers if how == "all" or name.lower() not in CREDENTIALS]
    digest = hashlib.sha256(request.body).hexdigest()
    return json.dumps({"method": request.method, "target": request.target, "headers": headers, "body_sha256": digest})
