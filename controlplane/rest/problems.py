"""Problem details (RFC 9457): what was wrong, what would be right, who can change it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.core.exceptions import ValidationError as Refused
from django.http import Http404
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import set_rollback

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
}


def explain(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler. None: a defect of ours, which is answered with 500 and logged."""
    headers: dict[str, str] = {}
    fields: Sequence[dict[str, str]] = ()
    code = ""
    match error:
        case Refused():
            number, detail, fields = 422, "Some fields are not right.", list(_of_action(error))
        case exceptions.ValidationError():
            number, detail, fields = 422, "Some fields are not right.", list(_flat(error.detail))
        case Http404():
            number, detail = 404, "There is no such object, or it is not yours to see."
        case PermissionDenied():
            number, detail = 403, str(error) or "This is not yours to do."
        case exceptions.NotAuthenticated():
            number, detail = 401, "Send an API token: Authorization: Bearer lw_at_…"
        case exceptions.APIException():
            number, detail = error.status_code, str(error.detail)
            if isinstance(error, exceptions.AuthenticationFailed):
                number = 401
            codes = error.get_codes()
            code = codes if isinstance(codes, str) and number in (409, 422) else ""
            wait = getattr(error, "wait", None)
            if wait:
                headers["Retry-After"] = str(int(wait))
        case _:
            return None
    if number == 401:
        headers["WWW-Authenticate"] = "Bearer"
    set_rollback()
    return problem(number, detail, code=code, errors=fields, headers=headers)


def problem(
    number: int,
    detail: str,
    *,
    code: str = "",
    errors: Sequence[dict[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    known, title, help_from = _CODES.get(number, ("error", "It did not work", "the platform team"))
    body = {
        "type": "about:blank",
        "title": title,
        "status": number,
        "code": code or known,
        "detail": detail,
        "who_can_help": help_from,
        "errors": list(errors),
    }
    return Response(body, status=number, headers=dict(headers or {}), content_type=CONTENT_TYPE)


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
