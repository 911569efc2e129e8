"""`Idempotency-Key`: a POST that is sent twice does its work once, and is answered twice.

The answer is kept for a day, in the transaction of the work itself, without the secrets that it showed: a replayed mint
returns the key and says that its text is gone. The same key with another body is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.changes.actor import Actor
from controlplane.rest.models import IdempotentAnswer
from controlplane.rest.problems import Conflict

HEADER = "Idempotency-Key"
REPLAY_HEADER = "Idempotent-Replay"
KEPT = timedelta(hours=24)
SHORTEST, LONGEST = 8, 255  # characters
GONE = "The secret was shown in the first answer and is not kept."


class Reused(Conflict):
    default_code = "idempotency_key_reused"
    default_detail = f"This {HEADER} was used for another request within the last day; take a new one."


def once(
    request: Request, actor: Actor, work: Callable[[], Response], *, secrets: frozenset[str], apart: bool = False
) -> Response:
    """Do the work unless the key says that it was done. `secrets`: fields that are not kept.

    `apart`: the work takes long and changes nothing that a second try would double, so it holds no transaction.
    """
    key = request.headers.get(HEADER, "")
    if not SHORTEST <= len(key) <= LONGEST or not key.isascii() or not key.isprintable():
        raise ParseError(f"{HEADER} is {SHORTEST} to {LONGEST} printable ASCII characters.")
    caller, print_ = f"{actor.kind.value}:{actor.id}", _fingerprint(request)
    IdempotentAnswer.objects.filter(caller=caller, created_at__lt=timezone.now() - KEPT).delete()
    earlier = _earlier(caller, key, print_)
    if earlier is not None:
        return earlier
    if apart:
        response = work()
        IdempotentAnswer.objects.get_or_create(
            caller=caller, key=key, defaults={"fingerprint": print_, **_kept(response, secrets)}
        )
        return response
    try:
        with transaction.atomic():
            # The row first: a second request with the key waits here for the first one to end.
            row = IdempotentAnswer.objects.create(caller=caller, key=key, fingerprint=print_, status=0, body={})
            response = work()
            IdempotentAnswer.objects.filter(pk=row.pk).update(**_kept(response, secrets))
            return response
    except IntegrityError:
        earlier = _earlier(caller, key, print_)
        if earlier is None:
            raise
        return earlier


def _earlier(caller: str, key: str, print_: str) -> Response | None:
    row = IdempotentAnswer.objects.filter(caller=caller, key=key).first()
    if row is None:
        return None
    if row.fingerprint != print_:
        raise Reused()
    return Response(row.body, status=row.status, headers={REPLAY_HEADER: "true"})


def _kept(response: Response, secrets: frozenset[str]) -> dict[str, Any]:
    body = response.data
    if isinstance(body, Mapping) and secrets & set(body):
        body = {name: None if name in secrets else value for name, value in body.items()} | {"notice": GONE}
    return {"status": response.status_code, "body": body}


def _fingerprint(request: Request) -> str:
    raw = request._request.body
    content = f"{request.method} {request.get_full_path()}\n".encode() + raw
    return salted_hmac("controlplane.rest.idempotency", content, algorithm="sha256").hexdigest()
