"""A secret is shown once: in the page that answers the POST that made it, and in no session, message or address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse

from controlplane.pages.recipes import CliTarget
from controlplane.pages.setups import setups
from dataplane.core.secret import Secret

_TOKEN = "_token_to_show"  # noqa: S105 - the name of an attribute


def hand_over(request: HttpRequest, token: Secret) -> None:
    """Keep the secret for the rest of this request, which shows it."""
    setattr(request, _TOKEN, token)


def take_over(request: HttpRequest) -> Secret:
    """The secret that `hand_over` kept; there is none any more."""
    token: Secret = request.__dict__.pop(_TOKEN)
    return token


def once(
    request: HttpRequest, template: str, context: Mapping[str, Any], *, token: Secret, target: CliTarget | None = None
) -> TemplateResponse:
    """The answer that holds the secret and that nothing stores. `target`: with the setups of the CLIs."""
    page = {
        **context,
        "token": token.reveal().decode(),
        "setups": setups(target) if target is not None else (),
        "setup_hint": "with the key filled in: what you copy here is a secret",
    }
    return TemplateResponse(request, template, page, headers={"Cache-Control": "no-store"})
