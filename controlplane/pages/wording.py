"""Figures in words: money, tokens, ages and sizes as pages show them."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

NANO = Decimal(10) ** 9


CLIENTS = {
    "claude_code": "Claude Code",
    "codex": "Codex",
    "gemini_cli": "Gemini CLI",
    "qwen_code": "Qwen Code",
    "cursor": "Cursor",
    "continue": "Continue",
    "opencode": "opencode",
    "openai_python": "OpenAI Python",
    "openai_js": "OpenAI JS",
    "ai_sdk": "AI SDK",
    "litellm": "LiteLLM",
    "other": "Other",
}


def client_name(client: str) -> str:
    """A detected client by its product's name."""
    return CLIENTS.get(client, client or "unknown")


def dollars(nano: int, like: int | None = None) -> str:
    """`nano` dollars as text: cents from one cent on, below it as many places as say something. `like`: with as many
    as this amount takes, where both stand in one sentence.
    """
    amount = abs(nano if like is None else like)
    places = 2 if amount >= 10**7 or not amount else 4 if amount >= 10**5 else 6
    if amount and amount < 1000:
        if like is None:
            return "<$0.000001"
        places = 9
    return f"${(Decimal(nano) / NANO).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,f}"


def exact_dollars(nano: int) -> str:
    """All nine digits: for detail pages and exports."""
    return f"{Decimal(nano) / NANO:.9f}"


def count(number: int) -> str:
    """1234 → 1,234; 1234567 → 1.23 M."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**4, "k")):
        if number >= size:
            scale = 1000 if letter == "k" else size
            return f"{number / scale:.3g} {letter}" if number / scale < 1000 else f"{number / scale:,.0f} {letter}"
    return f"{number:,}"


def counted(number: int, one: str, several: str = "") -> str:
    """1 person, 2 people, 0 requests."""
    return f"{count(number)} {one if number == 1 else several or one + 's'}"


def age(then: datetime | None, now: datetime) -> str:
    """Says how long ago, in the largest unit that fits."""
    if then is None:
        return "never"
    passed = max(now - then, timedelta())
    seconds = passed.total_seconds()
    if seconds < 1:
        return "now"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def milliseconds(duration: int) -> str:
    return f"{duration} ms" if duration < 1000 else f"{duration / 1000:.3g} s"


def size(number: int) -> str:
    """Bytes in binary units."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.3g} {unit}" if unit != "B" else f"{number} B"
        amount /= 1024
    return f"{amount:.3g} GiB"
