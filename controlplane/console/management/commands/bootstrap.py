"""`manage.py bootstrap`: from an empty database to a first request, from one JSON document on standard input.

    {"admin": {"username", "email", "password"}, "organization": "…", "team": "…", "project": "…",
     "principal": {"name", "email"}, "providers": [{"name", "kind", "base_url", "credential"}],
     "virtual_key": {"name", "known"}, "api_token": {"name", "known"}}

Can be run again: what exists is kept, a provider whose address or credential differs is mended, a key or token is
minted unless `known` names one that still works. Secrets come in by standard input and leave, once, by standard output.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils.text import slugify

from controlplane.changes.actor import Actor
from controlplane.keys import actions as keys
from controlplane.keys.models import KeyState, VirtualKey
from controlplane.providers import actions as providers
from controlplane.providers.models import Provider
from controlplane.providers.prices import bring_up_to_date
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy.logins import create_login
from controlplane.tenancy.models import ApiToken, Organization, Principal, Project, Role, Team
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            wanted = json.load(sys.stdin)
            done = self._bootstrap(wanted)
        except (ValueError, KeyError, TypeError) as problem:
            raise CommandError(f"the document on standard input cannot be used: {type(problem).__name__}") from problem
        self.stdout.write(json.dumps(done))

    def _bootstrap(self, wanted: dict[str, Any]) -> dict[str, str]:
        by = Actor.system("bootstrap")
        self._ensure_admin(wanted["admin"], by)
        organization = self._ensure_organization(wanted["organization"], by)
        team = Team.objects.filter(organization=organization, slug=slugify(wanted["team"])).first()
        team = team or tenancy.create_team(
            by=by, organization=organization, name=wanted["team"], slug=slugify(wanted["team"])
        )
        project = Project.objects.filter(team=team, slug=slugify(wanted["project"])).first()
        project = project or tenancy.create_project(
            by=by, team=team, name=wanted["project"], slug=slugify(wanted["project"])
        )
        person = wanted["principal"]
        principal = Principal.objects.filter(organization=organization, email=person["email"]).first()
        principal = principal or tenancy.create_principal(
            by=by, organization=organization, display_name=person["name"], email=person["email"]
        )
        for specification in wanted["providers"]:
            self._ensure_provider(organization, specification, by)
        bring_up_to_date(by=by)  # prices now, not when a worker is there: the first request is to be priced
        done = {"organization_id": organization.pk, "project_id": project.pk, "principal_id": principal.pk}
        done |= self._ensure_key(project, principal, wanted["virtual_key"], by)
        return done | self._ensure_token(organization, wanted["api_token"], by)

    def _ensure_admin(self, admin: dict[str, str], by: Actor) -> None:
        if not get_user_model()._default_manager.filter(username=admin["username"]).exists():
            password = Secret(admin["password"])
            create_login(by=by, username=admin["username"], email=admin["email"], password=password, operator=True)

    def _ensure_organization(self, name: str, by: Actor) -> Organization:
        organization = Organization.objects.filter(slug=slugify(name)).first()
        return organization or tenancy.create_organization(by=by, name=name, slug=slugify(name))

    def _ensure_provider(self, organization: Organization, wanted: dict[str, str], by: Actor) -> None:
        credential = Secret(wanted["credential"])
        provider = Provider.objects.filter(organization=organization, name=wanted["name"]).first()
        if provider is None:
            providers.create_provider(
                by=by,
                organization=organization,
                name=wanted["name"],
                kind=ProviderKind(wanted["kind"]),
                base_url=wanted["base_url"],
                credential=credential,
            )
            return
        if provider.base_url != wanted["base_url"]:
            providers.update_provider(provider, by=by, base_url=wanted["base_url"], credential=credential)
        elif not providers.has_credential(provider, credential):
            providers.set_credential(provider, by=by, credential=credential)

    def _ensure_key(self, project: Project, principal: Principal, wanted: dict[str, str], by: Actor) -> dict[str, str]:
        key = VirtualKey.objects.filter(pk=wanted["known"], state=KeyState.ACTIVE).first()
        if key is not None:
            return {"virtual_key_id": key.pk}
        key, secret = keys.mint(by=by, name=wanted["name"], project=project, principal=principal, tags=["cli"])
        return {"virtual_key_id": key.pk, "virtual_key": secret.reveal().decode()}

    def _ensure_token(self, organization: Organization, wanted: dict[str, str], by: Actor) -> dict[str, str]:
        token = ApiToken.objects.filter(pk=wanted["known"], revoked_at=None).first()
        if token is not None:
            return {"api_token_id": token.pk}
        token, secret = tenancy.mint_token(by=by, organization=organization, name=wanted["name"], role=Role.OWNER)
        return {"api_token_id": token.pk, "api_token": secret.reveal().decode()}
