"""Small pieces of list pages: pills for states, links to other objects, times."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Model
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.console.addresses import page_of
from controlplane.pages.wording import age

GOOD, WARN, BAD, INFO, PLAIN = "good", "warn", "bad", "info", "plain"
NOTHING = "–"


def pill(text: str, tone: str) -> SafeString:
    return format_html('<span class="gw-pill gw-pill-{}">{}</span>', tone, text)


def on_off(value: bool, on: str = "Active", off: str = "Off") -> SafeString:
    return pill(on, GOOD) if value else pill(off, PLAIN)


def link(row: Model | None, text: str = "") -> SafeString | str:
    """To the page of an object."""
    if row is None:
        return NOTHING
    return format_html('<a class="gw-link" href="{}">{}</a>', page_of(row), text or str(row))


def ago(then: datetime | None) -> SafeString | str:
    """A time as its distance from now, the exact time on hovering."""
    if then is None:
        return "never"
    return format_html(
        '<time class="gw-nowrap" datetime="{}" title="{} UTC">{}</time>',
        then.isoformat(),
        f"{then:%Y-%m-%d %H:%M:%S}",
        age(then, timezone.now()),
    )


def mono(text: str) -> SafeString:
    return format_html('<span class="gw-mono">{}</span>', text)


def two_lines(first: str, second: str) -> SafeString:
    """What matters, and below it what belongs to it."""
    return format_html('<span class="gw-strong">{}</span><br><span class="gw-muted">{}</span>', first, second)
