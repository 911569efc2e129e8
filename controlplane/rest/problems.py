"""Problem details (RFC 9457): what was wrong, what would be right, who can change it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as Refused
from django.db import IntegrityError
from django.http import Http404, JsonResponse
from django.http.request import UnreadablePostError
from rest_framework import exceptions, status
from rest_framework.views import set_rollback

from controlplane.changes import unique
from controlplane.rest import request_ids
from controlplane.rest.busy import RETRY_AFTER_S, busy
from dataplane.core.errors import LONGEST_RETRY_AFTER

CONTENT_TYPE = "application/problem+json"


class Conflict(exceptions.APIException):
    """The object's state does not allow it."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


_CODES: Mapping[int, tuple[str, str, str]] = {
    400: ("bad_request", "The request cannot be read", "you: the request"),
    401: ("unauthenticated", "Nobody is known to ask", "an admin: API tokens"),
    403: ("forbidden", "Not yours to do", "an owner or admin of the organization"),
    404: ("not_found", "No such object", "you: the id; or an admin, if you should see it"),
    405: ("method_not_allowed", "The route does not take this method", "you: the method"),
    406: ("not_acceptable", "Only JSON is spoken here", "you: the Accept header"),
    409: ("conflict", "The object's state does not allow it", "you: look at the object first"),
    413: ("payload_too_large", "The body is too large", "you: the body"),
    415: ("unsupported_media_type", "Only JSON is understood here", "you: the Content-Type header"),
    422: ("validation_error", "The body is not right", "you: the fields named in errors"),
    429: ("rate_limited", "Too many requests", "you: wait"),
    500: ("internal_error", "A defect of the gateway", "the platform team: tell them the request id"),
    503: ("database_busy", "The database cannot serve at this moment", "you: try again; or the platform team"),
}
DEFECT = "Something is wrong on our side. The request id finds it in the log."
BUSY = "The database is busy or not there. Try again in a few seconds; with an Idempotency-Key no work is done twice."


def explain(error: Exception, context: Mapping[str, Any]) -> JsonResponse | None:
    """DRF's exception handler. None: a defect of ours, which is answered with 500 and logged."""
    answer = _of_database(error) or _of_request(error)
    if answer is not None:
        set_rollback()
    return answer


def unavailable() -> JsonResponse:
    return problem(503, BUSY, headers={"Retry-After": str(RETRY_AFTER_S)})


def _of_database(error: Exception) -> JsonResponse | None:
    if busy(error):
        return unavailable()
    if isinstance(error, IntegrityError):
        taken = unique.taken_by(error)
        if taken is None:
            return None
        return problem(409, unique.WORDS, code=unique.CODE, errors=list(_of_action(taken)))
    return None


def _of_request(error: Exception) -> JsonResponse | None:
    match error:
        case Refused() if unique.only_taken(error):
            return problem(409, unique.WORDS, code=unique.CODE, errors=list(_of_action(error)))
        case Refused():
            return problem(422, "Some fields are not right.", errors=list(_of_action(error)))
        case exceptions.ValidationError():
            return problem(422, "Some fields are not right.", errors=list(_flat(error.detail)))
        case Http404():
            return problem(404, "There is no such object, or it is not yours to see.")
        case PermissionDenied():
            return problem(403, str(error) or "This is not yours to do.")
        case RequestDataTooBig():
            return problem(413, "The body is larger than any that this API takes.")
        case UnreadablePostError():
            return problem(400, "The body did not come to its end.")
        case exceptions.NotAuthenticated():
            return problem(401, "Send an API token: Authorization: Bearer lw_at_…")
        case exceptions.AuthenticationFailed():
            return problem(401, str(error.detail))
        case exceptions.Throttled():
            wait = min(max(math.ceil(getattr(error, "wait", None) or 1), 1), LONGEST_RETRY_AFTER)
            return problem(429, str(error.detail), headers={"Retry-After": str(wait)})
        case exceptions.APIException():
            codes = error.get_codes()
            code = codes if isinstance(codes, str) and error.status_code in (409, 422) else ""
            return problem(error.status_code, str(error.detail), code=code)
    return None


def problem(
    number: int,
    detail: str,
    *,
    code: str = "",
    errors: Sequence[dict[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JsonResponse:
    """JSON whatever the client accepts, without anything of DRF's: middleware answers so too."""
    default_code, title, help_from = _CODES.get(number, ("error", "It did not work", "the platform team"))
    body = {
        "type": "about:blank",
        "title": title,
        "status": number,
        "code": code or default_code,
        "detail": detail,
        "who_can_help": help_from,
        "errors": list(errors),
        "request_id": request_ids.current(),
    }
    more = dict(headers or {}) | ({"WWW-Authenticate": "Bearer"} if number == 401 else {})
    return JsonResponse(body, status=number, headers=more, content_type=CONTENT_TYPE)


def _of_action(refused: Refused) -> Iterator[dict[str, str]]:
    if not hasattr(refused, "error_dict"):
        yield from ({"field": "", "message": message} for message in refused.messages)
        return
    for field, messages in refused.message_dict.items():
        name = "" if field == NON_FIELD_ERRORS else field
        yield from ({"field": name, "message": message} for message in messages)


def _flat(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            here = "" if name == "non_field_errors" else str(name)
            yield from _flat(inner, f"{path}.{here}".strip("."))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _flat(inner, path)
    else:
        yield {"field": path, "message": str(detail)}
