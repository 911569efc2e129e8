"""The cookie by which the log-in knows a browser in which somebody's password was right before.

It names the browser and nobody else, is signed, opens nothing, and spares its owner the brake on guessing alone.
"""

from __future__ import annotations

import re

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from controlplane.tenancy.brake import PLACE_KEPT, new_browser

_SALT = "controlplane.console.logins.browser"
_REMEMBERED = "_console_browser"
_NAME = re.compile(r"[0-9a-f]{32}")


def cookie_name() -> str:
    return "__Host-aigateway_browser" if settings.SESSION_COOKIE_SECURE else "aigateway_browser"


def browser_of(request: HttpRequest | None) -> str:
    """The name that the browser was given, or a new one."""
    if request is None:
        return new_browser()
    try:
        value = signing.loads(request.COOKIES.get(cookie_name(), ""), salt=_SALT, max_age=PLACE_KEPT)
    except signing.BadSignature:
        return new_browser()
    return value if isinstance(value, str) and _NAME.fullmatch(value) else new_browser()


def note_right(request: HttpRequest | None, browser: str) -> None:
    """The password was right: `give_cookie` is to give the browser its name."""
    if request is not None:
        setattr(request, _REMEMBERED, browser)


def give_cookie(request: HttpRequest, answer: HttpResponse) -> HttpResponse:
    browser = getattr(request, _REMEMBERED, "")
    if browser:
        answer.set_cookie(
            cookie_name(),
            signing.dumps(browser, salt=_SALT),
            max_age=PLACE_KEPT,
            secure=bool(settings.SESSION_COOKIE_SECURE),
            httponly=True,
            samesite="Strict",
        )
    return answer
