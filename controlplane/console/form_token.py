"""A form that is sent once. Its token is spent by the first POST, in the transaction of what that POST does.

A page that shows a secret is the answer to the POST that made the secret, so that reloading the page sends the form
again. The second POST makes nothing: it learns what the first one made. What is kept of a spent token is the id of
that row, beside the answers that the REST API keeps, and never the secret.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import TypeVar

from django.core import signing
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone

from controlplane.console.access import actor_of
from controlplane.rest.idempotency import KEPT
from controlplane.rest.models import IdempotentAnswer
from dataplane.core.secret import Secret

FIELD = "form_token"
LIVES = KEPT / 2  # a token has died before anybody forgets that it was spent

Row = TypeVar("Row", bound=Model)


class Spent(Exception):
    """The form was sent before. `row_id`: of what it made then."""

    def __init__(self, row_id: str) -> None:
        super().__init__(f"this form has made {row_id}")
        self.row_id = row_id


def new_token(request: HttpRequest) -> str:
    """A token for the form that a page shows to this person at this address."""
    return signing.dumps([_caller(request), request.path, secrets.token_urlsafe(16)], salt=FIELD)


def refuse_spent(request: HttpRequest) -> None:
    """Raises Spent, before anything else is said about what was sent a second time."""
    token = request.POST.get(FIELD, "")
    earlier = _earlier(request, token) if token else None
    if earlier is not None:
        raise Spent(earlier)


def spend(request: HttpRequest, work: Callable[[], tuple[Row, Secret]]) -> tuple[Row, Secret]:
    """Do the work unless the form was sent before: then Spent. ValidationError: not a form of ours, or an old one."""
    token = request.POST.get(FIELD, "")
    try:
        whose, path, _ = signing.loads(token, salt=FIELD, max_age=LIVES)
    except (signing.BadSignature, ValueError):
        whose = path = ""
    if (whose, path) != (_caller(request), request.path):
        raise ValidationError("This form has waited too long or came from elsewhere, and made nothing. Send it again.")
    caller, key = _caller(request), _key(token)
    IdempotentAnswer.objects.filter(caller=caller, created_at__lt=timezone.now() - KEPT).delete()
    try:
        with transaction.atomic():
            # The row first: a second POST with the token waits here for the first one to end.
            answer = IdempotentAnswer.objects.create(caller=caller, key=key, fingerprint="", status=0, body={})
            row, secret = work()
            IdempotentAnswer.objects.filter(pk=answer.pk).update(status=201, body={"made": str(row.pk)})
            return row, secret
    except IntegrityError:
        earlier = _earlier(request, token)
        if earlier is None:
            raise
        raise Spent(earlier) from None


def _earlier(request: HttpRequest, token: str) -> str | None:
    answer = IdempotentAnswer.objects.filter(caller=_caller(request), key=_key(token)).first()
    return str(answer.body["made"]) if answer is not None else None


def _caller(request: HttpRequest) -> str:
    actor = actor_of(request)
    return f"{actor.kind.value}:{actor.id}"


def _key(token: str) -> str:
    return f"form:{hashlib.sha256(token.encode()).hexdigest()}"
