"""Rules, alerts and deliveries in words and pills."""

from __future__ import annotations

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from controlplane.alerts.models import (
    About,
    Alert,
    AlertRule,
    AlertState,
    Delivery,
    DeliveryEvent,
    DeliveryState,
    RuleKind,
    Severity,
)
from controlplane.console.addresses import link
from controlplane.pages.cells import BAD, GOOD, INFO, NOTHING, PLAIN, WARN, ago, pill
from controlplane.pages.wording import dollars

_WHOSE = {
    About.ANY: "Any budget",
    About.ORGANIZATION: "The organization's budget",
    About.TEAM: "Any team's budget",
    About.PROJECT: "Any project's budget",
    About.PERSON: "Any person's own budget",
    About.VIRTUAL_KEY: "Any key's budget",
}
_TONES = {Severity.INFO: INFO, Severity.WARNING: WARN, Severity.CRITICAL: BAD}
_STATES = {DeliveryState.WAITING: WARN, DeliveryState.DELIVERED: GOOD, DeliveryState.DEAD: BAD}


def sentence(rule: AlertRule, subject: str) -> str:
    """When it speaks. `subject`: the name of what it is restricted to."""
    only = f", only {subject or 'what is gone'}" if rule.scope_id else ""
    match RuleKind(rule.kind):
        case RuleKind.BUDGET_THRESHOLD:
            whose = _WHOSE[About(rule.about)]
            per = f" per {rule.window}" if rule.window else ""
            reaches = f"reaches {rule.threshold} %" if rule.threshold else "reaches one of its thresholds"
            return f"{whose}{per} {reaches}{only}"
        case RuleKind.SPEND_VELOCITY:
            factor = f"{rule.factor.normalize():f}"
            floor = dollars(rule.floor_nano)
            return f"Somebody's last hour costs more than {factor} times the usual and {floor}{only}"
        case RuleKind.UNPRICED_MODEL:
            return f"A model without a price is used{only}"
        case RuleKind.ODD_FIGURES:
            return f"A provider tells figures that cannot be, or runs tools without a price{only}"
        case RuleKind.PROVIDER_REFUSED:
            return "A provider refuses the organization's credential or account"
        case RuleKind.LOST_USAGE:
            return "Usage records are lost or cannot be applied"


def severity_pill(severity: str) -> SafeString:
    return pill(Severity(severity).label, _TONES[Severity(severity)])


def alert_pill(alert: Alert) -> SafeString:
    return pill("Open", WARN) if alert.state == AlertState.OPEN else pill("Over", PLAIN)


def delivery_pill(delivery: Delivery) -> SafeString:
    return pill(DeliveryState(delivery.state).label, _STATES[DeliveryState(delivery.state)])


def fact_list(alert: Alert) -> SafeString:
    rows = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td></tr>', alert.facts)
    return format_html('<table class="gw-table"><tbody>{}</tbody></table>', rows)


def delivery_table(alert: Alert) -> SafeString | str:
    rows = list(alert.deliveries.order_by("created_at", "pk"))
    if not rows:
        return "Nobody: the rule names no channel that is on."
    cells = (
        (
            link(row, row.channel_name),
            "Its end" if row.event == DeliveryEvent.RESOLVED else "Its beginning",
            delivery_pill(row),
            row.attempts,
            row.message or NOTHING,
            ago(row.last_try_at) if row.last_try_at else NOTHING,
        )
        for row in rows
    )
    body = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", cells)
    titles = ((title,) for title in ("Channel", "What", "State", "Tries", "Outcome", "Last try"))
    head = format_html_join("", '<th scope="col">{}</th>', titles)
    return format_html('<table class="gw-table"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>', head, body)
