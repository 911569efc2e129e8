"""Small pieces of pages: pills for states, times, identifiers, two lines in one cell."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.pages.wording import age

GOOD, WARN, BAD, INFO, PLAIN = "good", "warn", "bad", "info", "plain"
NOTHING = "–"


def pill(text: str, tone: str) -> SafeString:
    return format_html('<span class="gw-pill gw-pill-{}">{}</span>', tone, text)


def on_off(value: bool, on: str = "Active", off: str = "Off") -> SafeString:
    return pill(on, GOOD) if value else pill(off, PLAIN)


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
    """A line that matters, and below it what belongs to it."""
    return format_html('<span class="gw-strong">{}</span><br><span class="gw-muted">{}</span>', first, second)
