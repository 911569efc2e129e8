"""The first-run checklist: from an empty installation to the first request, each step with a link to its form."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse

from controlplane.console.access import actor_of, may_somewhere
from controlplane.console.addresses import page_of
from controlplane.keys.models import VirtualKey
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Organization, Principal, Project, Team
from controlplane.tenancy.permissions import Verb, organizations_of
from controlplane.usage.models import UsageRecord


@dataclass(frozen=True, slots=True)
class ChecklistStep:
    """One line: what, why, whether it is done, and where to do it (empty: nowhere, or not for this person)."""

    title: str
    detail: str
    done: bool
    url: str
    action: str


@dataclass(frozen=True, slots=True)
class Checklist:
    steps: tuple[ChecklistStep, ...]

    @property
    def done(self) -> int:
        return sum(step.done for step in self.steps)

    @property
    def percent(self) -> int:
        return 100 * self.done // len(self.steps)

    @property
    def finished(self) -> bool:
        return self.done == len(self.steps)

    @property
    def next(self) -> ChecklistStep | None:
        return next((step for step in self.steps if not step.done), None)


def checklist(request: HttpRequest) -> Checklist:
    """The checklist of the oldest organization that the person sees."""
    actor = actor_of(request)
    organization = organizations_of(actor).order_by("created_at", "pk").first()
    here = {"organization_id": organization.pk} if organization is not None else {"organization_id": ""}
    team = Team.objects.filter(**here).order_by("created_at").first()
    project = Project.objects.filter(**here).order_by("created_at").first()
    principal = Principal.objects.filter(**here).order_by("created_at").first()
    provider = Provider.objects.filter(**here).order_by("-last_test_ok", "created_at").first()
    key = VirtualKey.objects.filter(**here).order_by("created_at").first()
    used = UsageRecord.objects.filter(**here).exists() if organization is not None else False
    form = _Links(request)
    return Checklist(
        (
            form.step(
                "Create the organization", "The tenant that owns everything below.", organization,
                Verb.ORGANIZATION_CREATE, "tenancy_organization", {},
            ),
            form.step(
                "Create a team", "A part of the organization that owns projects.", team, Verb.TEAM_CREATE,
                "tenancy_team", {"organization": organization},
            ),
            form.step(
                "Create a project", "Where usage is booked.", project, Verb.PROJECT_CHANGE,
                "tenancy_project", {"team": team},
            ),
            form.step(
                "Add a person", "Whom requests are attributed to.", principal, Verb.PRINCIPAL_CHANGE,
                "tenancy_principal", {"organization": organization},
            ),
            _provider_step(form, organization, provider, used),
            form.step(
                "Mint a virtual key", "The credential that a CLI carries. It is shown once.", key, Verb.KEY_MINT,
                "keys_virtualkey", {"project": project, "principal": principal},
            ),
            ChecklistStep(
                "See the first request",
                "The ledger has its first record." if used else "Paste the setup into your CLI and ask something.",
                used,
                page_of(key, "setup") if key is not None and not used else "",
                "Show the setup",
            ),
        )
    )  # fmt: skip


class _Links:
    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    def step(
        self,
        title: str,
        detail: str,
        row: Organization | Team | Project | Principal | Provider | VirtualKey | None,
        verb: Verb,
        page: str,
        parts: dict[str, Organization | Team | Project | Principal | None],
    ) -> ChecklistStep:
        missing = any(value is None for value in parts.values())
        allowed = may_somewhere(self.request, verb)
        query = urlencode({"first": "1", **{name: value.pk for name, value in parts.items() if value is not None}})
        url = f"{reverse(f'admin:{page}_add')}?{query}" if row is None and allowed and not missing else ""
        return ChecklistStep(title, str(row) if row is not None else detail, row is not None, url, "Start")


def _provider_step(
    form: _Links, organization: Organization | None, provider: Provider | None, used: bool
) -> ChecklistStep:
    """Done when a test passed, or a request did: that tests more."""
    step = form.step(
        "Add a provider and test it", "An upstream account with the organization's own credential.", provider,
        Verb.PROVIDER_CHANGE, "providers_provider", {"organization": organization},
    )  # fmt: skip
    if provider is None or ((provider.last_test_ok or used) and provider.refused_since is None):
        return step
    if provider.refused_since is not None:
        problem = f"it refuses the credential: {provider.last_error}"
    else:
        problem = "its last test failed." if provider.last_test_ok is False else "test that its credential works."
    detail = f"{provider.name} is there; {problem}"
    url = page_of(provider, "test")
    return ChecklistStep(
        step.title, detail, False, url if may_somewhere(form.request, Verb.PROVIDER_TEST) else "", "Test it"
    )
