"""The caller of a request: a program with an API token, or a person who is logged in to the admin."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth.base_user import AbstractBaseUser
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from controlplane.changes.actor import Actor
from controlplane.tenancy import tokens
from controlplane.tenancy.brake import TokenBrake
from dataplane.core.errors import LONGEST_RETRY_AFTER

SCHEME = "bearer"


class Program:
    """The user of a request that carries a token: nobody of Django's."""

    is_authenticated = True
    is_active = True
    pk = None


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer lw_at_…`"""

    def authenticate(self, request: Request) -> tuple[Program, Actor] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != SCHEME:
            return None
        address = str(request.META.get("REMOTE_ADDR", ""))
        actor = tokens.authenticate(token.strip(), address)
        if actor is None:
            raise _refusal(address)
        return Program(), actor

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _refusal(address: str) -> AuthenticationFailed | TooManyWrongTokens:
    brake = TokenBrake(address)
    if brake.is_on():
        return TooManyWrongTokens()
    brake.failed()
    return AuthenticationFailed("The API token is malformed, unknown, expired or revoked.")


class TooManyWrongTokens(Throttled):
    """Too many came from one address within the brake's window."""

    default_detail = "Too many wrong API tokens came from this address. A right one is served at any time."
    extra_detail_singular = extra_detail_plural = ""

    def __init__(self) -> None:
        super().__init__(wait=LONGEST_RETRY_AFTER)


class LoginAuthentication(SessionAuthentication):
    """The admin's session; everything but reading needs its CSRF token."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        session = super().authenticate(request)
        if session is None:
            return None
        user = cast(AbstractBaseUser, session[0])
        return user, Actor.of_user(user, str(request.META.get("REMOTE_ADDR", "")))
