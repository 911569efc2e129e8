"""What the pages say and do, beyond who may open them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from controlplane.changes import queries
from controlplane.changes.models import AuditEvent, ConfigChange
from controlplane.console.addresses import page_of
from controlplane.fleet.models import Eviction, PodAck
from controlplane.fleet.register.queries import serving
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Organization, Principal, Role
from tests.controlplane import factories as make
from tests.controlplane.console.reading import row_of
from tests.controlplane.console.world import pod, record, tenant, world

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make.user(is_superuser=True, username="ada"))
    return client


def text(answer: Any) -> str:
    return str(answer.content.decode())


def context(answer: Any) -> dict[str, Any]:
    """What the page was made of."""
    return dict(answer.context_data)


# ---- the browser's rules ----


def test_the_admin_runs_no_inline_script_and_everything_else_no_eval_either(admin: Client):
    policy = admin.get(reverse("admin:index")).headers["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    outside = admin.get("/healthz").headers["Content-Security-Policy"]
    assert "unsafe-eval" not in outside
    assert "script-src 'self'" in outside


def test_the_login_page_has_the_policy_too():
    assert "'unsafe-eval'" in Client().get(reverse("admin:login")).headers["Content-Security-Policy"]


def test_too_many_wrong_passwords_make_everybody_wait():
    user = make.user(is_superuser=True)
    user.set_password("right")
    user.save()
    client = Client(REMOTE_ADDR="192.0.2.77")
    page = reverse("admin:login")
    for _ in range(10):
        client.post(page, {"username": user.username, "password": "wrong"})
    answer = client.post(page, {"username": user.username, "password": "right"})
    assert answer.status_code == 200
    assert "Too many wrong attempts" in text(answer)


# ---- first run ----


def test_an_empty_installation_leads_to_its_first_request_step_by_step(admin: Client):
    def next_step() -> Any:
        answer = admin.get(reverse("admin:index"))
        return context(answer)["checklist"].next.url

    assert next_step().startswith(reverse("admin:tenancy_organization_add"))
    organization = make.organization()
    assert f"organization={organization.pk}" in next_step()
    team = make.team(organization)
    assert f"team={team.pk}" in next_step()
    project = make.project(team)
    assert next_step().startswith(reverse("admin:tenancy_principal_add"))
    principal = make.principal(organization)
    assert next_step().startswith(reverse("admin:providers_provider_add"))
    provider = make.provider(organization)
    assert next_step() == page_of(provider, "test")
    Provider.objects.filter(pk=provider.pk).update(last_test_ok=True)
    assert f"principal={principal.pk}" in next_step()
    key = make.key(project, principal=principal)
    assert next_step() == page_of(key, "setup")
    made = tenant()
    record(made, organization_id=organization.pk)
    assert context(admin.get(reverse("admin:index")))["checklist"].finished


def test_a_provider_that_refuses_its_credential_is_a_step_that_is_not_done(admin: Client):
    made = tenant()
    record(made)
    since = timezone.now()
    Provider.objects.filter(pk=made.provider.pk).update(
        last_test_ok=True, refused_since=since, last_error="401: no", last_error_at=since
    )
    step = context(admin.get(reverse("admin:index")))["checklist"].next
    assert step.detail == f"{made.provider.name} is there; it refuses the credential: 401: no"
    assert step.url == page_of(made.provider, "test")


def test_a_form_that_the_checklist_opened_leads_back_to_it(admin: Client):
    page = reverse("admin:tenancy_organization_add") + "?first=1"
    answer = admin.post(page, {"name": "Acme", "slug": "acme", "freshness_bound_s": "0"})
    assert answer.status_code == 302
    assert answer.headers["Location"] == reverse("admin:index")


# ---- writes go through actions ----


def test_every_form_leaves_its_mark_in_the_audit(admin: Client):
    admin.post(
        reverse("admin:tenancy_organization_add"),
        {"name": "Acme", "slug": "acme", "contact": "#ai", "freshness_bound_s": "0"},
    )
    organization = Organization.objects.get()
    admin.post(reverse("admin:tenancy_team_add"), {"organization": organization.pk, "name": "Core", "slug": "core"})
    team = organization.teams.get()
    admin.post(reverse("admin:tenancy_project_add"), {"team": team.pk, "name": "Tools", "slug": "tools"})
    admin.post(
        reverse("admin:tenancy_principal_add"),
        {"organization": organization.pk, "kind": "person", "display_name": "Grace"},
    )
    principal = Principal.objects.get()
    admin.post(page_of(principal), {"kind": "person", "display_name": "Grace H."})
    done = list(AuditEvent.objects.order_by("pk").values_list("action", "actor_label"))
    assert done == [
        ("organization.created", "ada"),
        ("team.created", "ada"),
        ("project.created", "ada"),
        ("principal.created", "ada"),
        ("principal.updated", "ada"),
    ]


def test_a_form_that_switches_off_offers_to_cut_what_runs(admin: Client):
    project = make.project()
    provider = make.provider(project.organization)
    principal = make.principal(project.organization)
    for row in (project.organization, project, principal, provider):
        text = admin.get(page_of(row)).content.decode()
        assert 'name="cut"' in text
        assert "for a secret that leaked" in text
    assert 'name="cut"' not in admin.get(reverse("admin:tenancy_project_add")).content.decode()
    assert 'name="cut"' not in admin.get(reverse("admin:providers_provider_add")).content.decode()
    admin.post(page_of(project), {"name": project.name, "slug": project.slug, "cut": "on"})
    project.refresh_from_db()
    assert (project.active, project.cuts) == (False, 1)
    admin.post(page_of(project), {"name": project.name, "slug": project.slug, "active": "on"})
    project.refresh_from_db()
    assert (project.active, project.cuts) == (True, 1)


def test_a_deleted_alias_is_deleted_by_its_action(admin: Client):
    made = tenant()
    alias = made.rows["keys.modelalias"]
    admin.post(page_of(alias, "delete"), {"post": "yes"})
    last = AuditEvent.objects.order_by("-pk").first()
    assert last is not None
    assert (last.action, last.target_id) == ("model_alias.deleted", alias.pk)


# ---- providers ----


def test_a_refused_credential_shows_in_the_list_and_on_the_page_with_the_providers_words(admin: Client):
    row = make.provider()
    change = reverse("admin:providers_provider_change", args=[row.pk])
    assert "Not refused" in text(admin.get(change))
    since = timezone.now() - timedelta(minutes=5)
    Provider.objects.filter(pk=row.pk).update(
        refused_since=since, last_error="401: <b>invalid x-api-key</b>", last_error_at=timezone.now()
    )
    listed = text(admin.get(reverse("admin:providers_provider_changelist")))
    assert "Refuses the credential" in listed
    assert f"{since:%Y-%m-%d %H:%M:%S} UTC" in listed
    page = text(admin.get(change))
    assert "401: &lt;b&gt;invalid x-api-key&lt;/b&gt;" in page
    assert "Refused</span> since" in page


def provider_form(**values: str) -> dict[str, str]:
    return {
        "kind": "anthropic",
        "name": "claude",
        "credential": "sk-ant-api03-very-secret-1234",
        "priority": "100",
        "unpriced": "refuse",
    } | values


def test_a_credential_goes_in_and_only_its_end_comes_back(admin: Client):
    organization = make.organization()
    answer = admin.post(reverse("admin:providers_provider_add"), provider_form(organization=organization.pk))
    row = Provider.objects.get()
    page = page_of(row)
    assert answer.headers["Location"] == page
    shown = text(admin.get(page))
    assert "••••1234" in shown
    assert "very-secret" not in shown


def test_a_credential_is_not_rendered_back_with_an_error(admin: Client):
    organization = make.organization()
    answer = admin.post(
        reverse("admin:providers_provider_add"), provider_form(organization=organization.pk, base_url="ftp://nowhere")
    )
    assert "base_url" in context(answer)["adminform"].form.errors
    assert "very-secret" not in text(answer)


def test_a_kind_without_an_address_asks_for_one(admin: Client):
    organization = make.organization()
    answer = admin.post(
        reverse("admin:providers_provider_add"), provider_form(organization=organization.pk, kind="openai_compatible")
    )
    assert "has no address of its own" in text(answer)


def test_saving_without_a_new_credential_keeps_the_stored_one(admin: Client):
    row = make.provider()
    page = page_of(row)
    fields = {"name": "other", "base_url": row.base_url, "enabled": "on", "priority": "5", "unpriced": row.unpriced}
    assert admin.post(page, fields).status_code == 302
    fresh = Provider.objects.get(pk=row.pk)
    assert (fresh.name, fresh.priority, fresh.credential_version) == ("other", 5, row.credential_version)
    admin.post(page, fields | {"credential": "sk-ant-api03-another-9999"})
    fresh.refresh_from_db()
    assert (fresh.credential_last4, fresh.credential_version) == ("9999", row.credential_version + 1)


# ---- fleet ----


def test_convergence_counts_pods_and_says_what_becomes_of_the_others(admin: Client):
    key = make.key()
    first, second = pod(name="one"), pod(name="two")
    admin.post(page_of(key, "revoke"), {"streams": "cut"})
    head = queries.head()
    for row in (first, second):
        row.epoch, row.last_heartbeat_at = head.epoch, timezone.now()
        row.first_seen_at = head.committed_at - timedelta(minutes=1)
        row.save()
    address = page_of(key, "live_json")
    waiting = admin.get(address)
    assert "no-store" in waiting.headers["Cache-Control"]
    assert waiting.json()["done"] is False
    assert {line["state"] for line in waiting.json()["pods"]} == {"waiting"}
    for row, after in ((first, 0.1), (second, 0.2)):
        row.applied_revision = head.revision
        row.save()
        PodAck.objects.create(
            pod_id=row.pod_id, revision=head.revision, at=head.committed_at + timedelta(seconds=after)
        )
    done = admin.get(address).json()
    assert done["done"] is True
    assert done["summary"] == "Live on 2 of 2 pods, slowest 0.2 s"


def test_the_page_of_a_key_and_the_api_tell_the_same_of_a_change(admin: Client):
    patient = make.organization(freshness_bound_s=900)
    key = make.key(make.project(make.team(patient)))
    admin.post(page_of(key, "revoke"), {"streams": "cut"})
    ConfigChange.objects.update(committed_at=timezone.now() - timedelta(minutes=2))
    silent = pod(name="silent", first_seen_at=timezone.now() - timedelta(hours=1))
    silent.last_heartbeat_at = timezone.now() - timedelta(minutes=2)
    silent.save()
    page = admin.get(page_of(key, "live_json")).json()
    told = admin.get(f"/api/v1/fleet/pods/convergence/{page['revision']}").json()
    assert (page["done"], told["settled"]) == (False, False)
    assert [line["state"] for line in page["pods"]] == [line["reach"] for line in told["pods"]] == ["unreachable"]


def test_a_pod_that_is_too_old_for_a_rule_stands_out_with_what_it_is_and_since_when(admin: Client):
    since = timezone.now() - timedelta(minutes=3)
    item = {"kind": "budget", "id": "bud_1", "problem": "scope <galaxy> is unknown"}
    row = pod(not_understood=[item], not_understood_count=3, not_understood_since=since, refused_keys=1200)
    for page in (reverse("admin:fleet_pod_changelist"), reverse("admin:fleet_pod_change", args=[row.pk])):
        shown = text(admin.get(page))
        assert "Too old" in shown
        assert (
            "Too old for budget bud_1 (scope &lt;galaxy&gt; is unknown) and 2 more since 3 min ago: "
            "it refuses 1,200 keys, and what would go there. Upgrade the pod."
        ) in shown
    pod(name="ancient", applied_at=timezone.now())
    shown = text(admin.get(reverse("admin:fleet_pod_changelist")))
    assert shown.count("It does not say what it does not understand, and ignores that. Upgrade the pod.") == 1
    viewer, _ = make.member(make.organization(), Role.VIEWER)
    client = Client()
    client.force_login(User.objects.get(pk=viewer.id))
    shown = text(client.get(reverse("admin:fleet_pod_changelist")))
    assert "Too old for budget (scope &lt;galaxy&gt; is unknown) and 2 more" in shown
    assert "bud_1" not in shown


@pytest.mark.parametrize(
    ("ahead_ms", "words"),
    [
        (
            -600_000,
            "Its host&#x27;s clock is 600 s slow. The pod goes by the fleet&#x27;s; set the host&#x27;s clock (NTP).",
        ),
        (7_400, "Its host&#x27;s clock is 7 s fast."),
    ],
)
def test_a_pod_whose_clock_is_wrong_says_by_how_much_and_what_to_do(admin: Client, ahead_ms: int, words: str):
    row = pod(clock_ahead_ms=ahead_ms)
    for page in (reverse("admin:fleet_pod_changelist"), reverse("admin:fleet_pod_change", args=[row.pk])):
        assert words in text(admin.get(page))
    (listed,) = admin.get("/api/v1/fleet/pods").json()["data"]
    assert listed["clock_ahead_ms"] == ahead_ms
    row.clock_ahead_ms = 5_000
    row.save()
    assert "host&#x27;s clock" not in text(admin.get(reverse("admin:fleet_pod_changelist")))


def test_a_pod_that_cannot_serve_some_says_so_and_does_not_count_as_serving(admin: Client):
    row = pod(problem="no request under a budget per minute is served: <why>")
    shown = text(admin.get(reverse("admin:fleet_pod_changelist")))
    assert "Not ready" in shown
    assert "No request under a budget per minute is served: &lt;why&gt;." in shown
    (listed,) = admin.get("/api/v1/fleet/pods").json()["data"]
    assert listed["problem"] == row.problem
    assert serving() == []


def test_the_page_of_a_change_says_which_pods_do_not_understand_it(admin: Client):
    key = make.key()
    admin.post(reverse("admin:keys_virtualkey_revoke", args=[key.pk]), {"streams": "cut"})
    head = queries.head()
    item = {"kind": "virtual_key", "id": key.pk, "problem": "it needs 'key.networks'"}
    common = {"epoch": head.epoch, "applied_revision": head.revision}
    pod(name="new", not_understood_count=0, **common)
    pod(name="old", not_understood_count=1, not_understood=[item], **common)
    told = admin.get(reverse("admin:keys_virtualkey_live_json", args=[key.pk])).json()
    assert told["summary"] == "Live on 1 of 2 pods; old does not understand it and refuses what it covers"
    assert told["done"] is True
    [line] = [line for line in told["pods"] if line["name"] == "old"]
    assert line["state"] == "does not understand it"
    assert line["remark"] == (
        "It is older than this change and refuses what that covers (virtual_key: it needs 'key.networks'). "
        "Upgrade the pod."
    )


def test_what_a_pod_cannot_apply_stands_out(admin: Client):
    pod(name="broken", nack_revision=7, nack_problem="route r1 names no provider")
    shown = text(admin.get(reverse("admin:fleet_pod_changelist")))
    assert 'class="gw-bad">Refuses revision 7: route r1 names no provider' in shown


# ---- usage ----


def test_the_ledger_is_filtered_and_summed(admin: Client):
    made, other = tenant(), tenant()
    record(made, model="gpt-5.5", client="codex", cost_nano=2_000_000_000)
    page = reverse("admin:usage_usagerecord_changelist")
    everything = admin.get(page)
    assert context(everything)["cl"].result_count == 3
    narrowed = admin.get(page, {"model": "gpt-5.5", "days": "1"})
    assert context(narrowed)["cl"].result_count == 1
    assert "$2.00" in text(narrowed)
    assert context(admin.get(page, {"principal_id": other.principal.pk}))["cl"].result_count == 1
    record(made, started_at=timezone.now() - timedelta(days=20))
    assert context(admin.get(page, {"days": "7"}))["cl"].result_count == 3
    assert context(admin.get(page, {"days": "30"}))["cl"].result_count == 4


def test_one_request_has_a_page_with_all_its_figures(admin: Client):
    made = tenant()
    row = record(made, trace_id="a" * 32, raw_usage='{"input_tokens": 1000}')
    shown = text(admin.get(row_of(admin, row)))
    for expected in ("a" * 32, "$0.004500000", "Claude Code", made.key.name, "input_tokens"):
        assert expected in shown, expected


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"priced": True, "price_version": "genai-prices 0.2"}, "genai-prices 0.2"),
        ({"outcome": "refused", "refusal_code": "budget_exceeded", "source": "none"}, "nothing: it was refused"),
        (
            {"outcome": "refused", "refusal_code": "unpriced_model", "source": "none"},
            "no price is known for this model",
        ),
        ({"outcome": "client_gone", "source": "none"}, "nothing: nothing was used"),
        ({"outcome": "", "state": "admitted", "source": "none"}, "not yet: its end has not been reported"),
        ({"outcome": "ok", "source": "provider"}, "no price is known for this model"),
    ],
)
def test_a_request_says_what_priced_it_or_why_nothing_did(admin: Client, values: dict[str, Any], says: str):
    row = record(tenant(), cost_nano=0, units={}, **values)
    shown = text(admin.get(page_of(row)))
    assert f"<dt>Priced by</dt><dd>{says}" in shown


def test_a_refused_request_names_the_budget_that_refused_it(admin: Client):
    made = tenant()
    budget = made.rows["budgets.budget"]
    row = record(made, outcome="refused", refusal_code="budget_exceeded", refusal_budget_id=budget.pk, source="none")
    shown = text(admin.get(page_of(row)))
    assert "Budget in the way" in shown
    assert page_of(budget) in shown
    assert "Project&#x27;s month" in shown
    gone = record(made, outcome="refused", refusal_budget_id="bud_gone", source="none")
    assert "bud_gone" in text(admin.get(page_of(gone)))


def test_charts_come_with_the_same_figures_as_a_table(admin: Client):
    tenant()
    shown = text(admin.get(reverse("admin:index"), {"days": "7"}))
    assert "<svg" in shown
    assert '<table class="visually-hidden">' in shown
    assert "Spend per day" in shown
    for days in ("1", "7", "30"):
        spend, requests = context(admin.get(reverse("admin:index"), {"days": days}))["charts"]
        assert (spend.total, requests.total) == ("$0.0045", "1")


def test_a_pod_that_was_restarted_is_replaced_and_not_missed(admin: Client):
    head = queries.head()
    before = timezone.now() - timedelta(minutes=2)
    pod(name="one", connected=False, first_seen_at=before, last_heartbeat_at=before)
    pod(name="one", epoch=head.epoch)
    pod(name="two", connected=False, last_heartbeat_at=before)
    shown = context(admin.get(reverse("admin:index")))
    assert [(line.name, line.state) for line in shown["pods"]] == [("one", "Ready"), ("two", "Unreachable")]
    assert shown["pods_summary"] == "1 of 2 ready"
    assert "Replaced" in text(admin.get(reverse("admin:fleet_pod_changelist")))


def test_the_operator_evicts_a_pod_after_a_question_that_names_who_shares_its_certificate(admin: Client):
    row = pod(name="one", identity="pod-1", certificate="c" * 64)
    pod(name="two", identity="pod-1", certificate="c" * 64)
    page = page_of(row)
    assert "Evict…" in text(admin.get(page))
    url = page_of(row, "evict")
    assert "1 other connected pod shows the same one" in text(admin.get(url))
    assert not Eviction.objects.exists()
    assert admin.post(url).headers["Location"] == page
    assert Eviction.objects.get().pod_id == row.pk
    shown = text(admin.get(page))
    assert "Evicted" in shown
    assert "Evict…" not in shown


def test_nobody_else_is_offered_to_evict_a_pod_or_can():
    client = Client()
    client.force_login(world().callers()["owner"])
    row = pod(certificate="c" * 64)
    assert "Evict…" not in text(client.get(page_of(row)))
    assert client.post(page_of(row, "evict")).status_code == 403
    assert not Eviction.objects.exists()
