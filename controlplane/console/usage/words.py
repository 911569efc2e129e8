"""One request of the ledger, in sections of facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.budgets.models import Budget
from controlplane.console.addresses import link
from controlplane.keys.models import VirtualKey
from controlplane.pages.cells import BAD, GOOD, INFO, NOTHING, WARN, ago, mono, pill
from controlplane.pages.wording import client_name, dollars, exact_dollars, milliseconds, size
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Organization, Principal, Project, Team
from controlplane.usage.models import RecordState, UsageRecord
from controlplane.usage.reading import whose
from dataplane.core.errors import Code
from dataplane.core.usage import Outcome, UsageSource

TONES: Mapping[str, tuple[str, str]] = {
    Outcome.OK: ("OK", GOOD),
    Outcome.PROVIDER_ERROR: ("Provider error", BAD),
    Outcome.REFUSED: ("Refused", WARN),
    Outcome.CLIENT_GONE: ("Client left", INFO),
    Outcome.CUT: ("Cut by us", WARN),
    Outcome.FAILED: ("Failed", BAD),
}
# Beside a cost, where it is not by the provider's figures.
MARKS: Mapping[str, str] = {
    UsageSource.METERED: "metered",
    UsageSource.ESTIMATED: "estimated",
    UsageSource.HELD: "held",
}
Fact = tuple[str, "SafeString | str"]


def outcome_pill(row: UsageRecord) -> SafeString:
    if row.state == RecordState.ADMITTED:
        return pill("Running", INFO)
    word, tone = TONES.get(row.outcome, (row.outcome or "Unknown", INFO))
    return pill(f"{word}: {row.refusal_code}" if row.refusal_code else word, tone)


def names_for(rows: Iterable[UsageRecord]) -> Mapping[str, str]:
    """Names of the people and keys behind some records, by id."""
    rows = list(rows)
    people = Principal.objects.filter(pk__in={row.principal_id for row in rows if row.principal_id})
    keys = VirtualKey.objects.filter(pk__in={row.key_id for row in rows if row.key_id})
    return dict(people.values_list("pk", "display_name")) | dict(keys.values_list("pk", "name"))


def facts(row: UsageRecord) -> list[tuple[str, list[Fact]]]:
    """Sections of (name, value); what a request does not have is left out."""
    return [
        (title, [(name, value) for name, value in lines if value not in ("", None)]) for title, lines in _sections(row)
    ]


def _sections(row: UsageRecord) -> list[tuple[str, list[Fact]]]:
    return [
        ("Who", [
            ("Person", _owner(Principal, row.principal_id)),
            ("Key", _owner(VirtualKey, row.key_id)),
            ("Project", _owner(Project, row.project_id)),
            ("Team", _owner(Team, row.team_id)),
            ("Organization", _owner(Organization, row.organization_id)),
            ("End user", row.end_user_id),
            ("Client", f"{client_name(row.client)} {row.client_version}".strip()),
            ("Session", mono(row.session) if row.session else ""),
        ]),
        ("What", [
            ("Operation", row.operation),
            ("API", row.dialect),
            ("Model asked for", row.model_requested),
            ("Model sent", row.model),
            ("Model reported", row.model_reported),
            ("Provider", _owner(Provider, row.provider_id)),
            ("Streaming", "yes" if row.streaming else "no"),
            ("Status", str(row.http_status or "")),
            ("Refused with", mono(row.refusal_code) if row.refusal_code else ""),
            ("Budget in the way", _owner(Budget, row.refusal_budget_id)),
            ("Tags", ", ".join(map(str, row.tags))),
            ("Metadata", mono(row.metadata) if row.metadata else ""),
        ]),
        ("Usage and cost", [
            *((name.replace("_", " ").capitalize(), f"{amount:,}") for name, amount in sorted(row.units.items())),
            ("Input in all", f"{row.input_tokens:,}"),
            ("Output in all", f"{row.output_tokens:,}"),
            *_parts(row),
            *((f"Calls of {name}", f"{amount:,}, without a known price") for name, amount in row.unknown_calls.items()),
            ("Figures", whose(row.source, row.why)),
            ("The provider's own words", mono(row.raw_usage) if row.raw_usage else ""),
            ("Service tier", row.service_tier),
            ("Made in", row.geo),
            ("Cost", f"${exact_dollars(row.cost_nano)}"),
            ("Priced by", priced_by(row)),
        ]),
        ("When and how fast", [
            ("Started", ago(row.started_at)),
            ("First byte after", milliseconds(row.first_byte_ms) if row.first_byte_ms else NOTHING),
            ("Took", milliseconds(row.duration_ms)),
            ("Request body", size(row.request_bytes)),
            ("Response body", size(row.response_bytes)),
            ("Events", f"{row.events:,}"),
        ]),
        ("Ids", [
            ("Request", mono(row.request_id)),
            ("Trace", mono(row.trace_id) if row.trace_id else ""),
            ("Span", mono(row.span_id) if row.span_id else ""),
            ("Provider's request", mono(row.provider_request_id) if row.provider_request_id else ""),
            ("Attempt", str(row.attempt)),
            ("Configuration revision", str(row.revision)),
            ("Record", row.get_state_display()),
        ]),
    ]  # fmt: skip


def cost_cell(row: UsageRecord) -> SafeString:
    """What it cost, and how that is known where the provider did not say it."""
    mark = MARKS.get(row.source, "") if row.unconfirmed else ""
    if not mark:
        return format_html("{}", dollars(row.cost_nano))
    reason = whose(row.source, row.why)
    return format_html('<span title="{}">{} <small>{}</small></span>', reason, dollars(row.cost_nano), mark)


def _parts(row: UsageRecord) -> list[Fact]:
    """What other models used."""
    return [
        (
            f"{part['model']} ({part['kind'].replace('_', ' ')})" if part["kind"] else part["model"],
            ", ".join(f"{name.replace('_', ' ')} {amount:,}" for name, amount in sorted(part["units"].items())),
        )
        for part in row.parts
    ]


def priced_by(row: UsageRecord) -> str:
    """The price list, or why there is none."""
    if row.priced:
        return row.price_version
    if row.state == RecordState.ADMITTED:
        return "not yet: its end has not been reported"
    if row.cost_nano and row.price_version:
        return f"{row.price_version}, at the dearest: it has no figure for all of this"
    if row.refusal_code == Code.UNPRICED_MODEL or row.source != UsageSource.NONE:
        return "no price is known for this model"
    return "nothing: it was refused" if row.outcome == Outcome.REFUSED else "nothing: nothing was used"


def _owner(model: Any, primary_key: str) -> SafeString | str:
    if not primary_key:
        return ""
    row = model.objects.filter(pk=primary_key).first()
    return link(row) if row is not None else mono(primary_key)
