"""The outermost middleware: an id for every request, and failures in words, whatever raised them and wherever.

Under /api/ every error is a problem; elsewhere it is a page. Nothing internal is in either.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from controlplane.rest import problems, request_ids
from controlplane.rest.busy import RETRY_AFTER_S, busy
from controlplane.web import metrics
from controlplane.web.deadline import deadline

_FAILURE = "_aigateway_failure"
PAGES = frozenset({400, 500})  # Django finds those for 403 and 404 by itself

WORDS = {
    400: "The request cannot be read: its host name, its headers or its body are not right.",
    404: "There is no such route; see /api/v1/openapi.yaml for all there are.",
    413: f"The body is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024} KiB.",
    500: problems.DEFECT,
}


def note_failure(sender: Any, request: HttpRequest | None = None, **_: Any) -> None:
    """Django turns an exception into a page where it happens, so this remembers which one it was."""
    if request is not None:
        setattr(request, _FAILURE, sys.exception())


got_request_exception.connect(note_failure, dispatch_uid="controlplane.web.answers")


class Answers:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.monotonic()
        with request_ids.minted() as request_id:
            setattr(request, request_ids.ATTRIBUTE, request_id)
            with deadline():
                answer = self._get_response(request)
            answer = in_words(request, answer)
            answer.headers[request_ids.HEADER] = request_id
            theirs = request.headers.get(request_ids.CLIENTS_HEADER, "")
            if request_ids.CLIENTS_ID.fullmatch(theirs):
                answer.headers[request_ids.CLIENTS_HEADER] = theirs
        metrics.count(request, answer.status_code, time.monotonic() - began)
        return answer


def in_words(request: HttpRequest, answer: HttpResponseBase) -> HttpResponseBase:
    is_busy = answer.status_code >= 500 and busy(getattr(request, _FAILURE, None))
    if is_api(request.path_info):
        is_problem = answer.headers.get("Content-Type") == problems.CONTENT_TYPE
        if answer.status_code < 400 or is_problem:
            return answer
        return _replaced(answer, _problem(503 if is_busy else answer.status_code))
    if is_busy:
        return _replaced(answer, page(503))
    if answer.status_code in PAGES and not settings.DEBUG:
        return _replaced(answer, page(answer.status_code))
    return answer


def is_api(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def refused(request_path: str, status: int) -> HttpResponse:
    """The whole answer of somebody who answers before Django does."""
    return _problem(status) if is_api(request_path) else page(status)


def _problem(status: int) -> HttpResponse:
    if status == 503:
        return problems.unavailable()
    return problems.problem(status, WORDS.get(status, "The request was refused."))


def page(status: int) -> HttpResponse:
    """Made without the database, the session and the person."""
    content = render_to_string(f"{status}.html", {"request_id": request_ids.current()})
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {})
    return HttpResponse(content, status=status, headers=headers)


def _replaced(answer: HttpResponseBase, better: HttpResponse) -> HttpResponseBase:
    """With what other middleware had said in headers, such as the browser's rules."""
    for name, value in answer.headers.items():
        if name.lower() not in ("content-type", "content-length", "retry-after", "www-authenticate"):
            better.headers.setdefault(name, value)
    better.cookies.update(answer.cookies)
    better.headers.setdefault("X-Content-Type-Options", "nosniff")
    return better
