"""What each role must find in the console, written down from the permission table and not from the pages.

`LISTS`: the sidebar. `BUTTONS`: what the page of a row offers, each with the verb that it takes. Whether a person may
do a verb to a row is asked of `controlplane.tenancy.permissions`.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import Model

from controlplane.changes.actor import Actor
from controlplane.tenancy.models import Role
from controlplane.tenancy.permissions import TABLE, Verb, may

# Sidebar's words, model, the verb to see it, the verb to add to it.
LISTS: tuple[tuple[str, str, Verb, Verb | None], ...] = (
    ("Virtual keys", "keys.virtualkey", Verb.KEY_VIEW, Verb.KEY_MINT),
    ("Principals", "tenancy.principal", Verb.PRINCIPAL_VIEW, Verb.PRINCIPAL_CHANGE),
    ("Groups", "tenancy.group", Verb.GROUP_VIEW, Verb.GROUP_CHANGE),
    ("Projects", "tenancy.project", Verb.PROJECT_VIEW, Verb.PROJECT_CHANGE),
    ("Teams", "tenancy.team", Verb.TEAM_VIEW, Verb.TEAM_CREATE),
    ("Organizations", "tenancy.organization", Verb.ORGANIZATION_VIEW, Verb.ORGANIZATION_CREATE),
    ("Memberships", "tenancy.membership", Verb.MEMBERSHIP_VIEW, Verb.MEMBERSHIP_CHANGE),
    ("API tokens", "tenancy.apitoken", Verb.TOKEN_VIEW, Verb.TOKEN_CHANGE),
    ("Logins", "auth.user", Verb.LOGIN_VIEW, Verb.LOGIN_CHANGE),
    ("Budgets", "budgets.budget", Verb.BUDGET_VIEW, Verb.BUDGET_CHANGE),
    ("Providers", "providers.provider", Verb.PROVIDER_VIEW, Verb.PROVIDER_CHANGE),
    ("Model aliases", "keys.modelalias", Verb.ALIAS_VIEW, Verb.ALIAS_CHANGE),
    ("Price overrides", "providers.priceoverride", Verb.PRICE_VIEW, Verb.PRICE_CHANGE),
    ("Alerts", "alerts.alert", Verb.ALERT_VIEW, None),
    ("Rules", "alerts.alertrule", Verb.ALERT_VIEW, Verb.ALERT_CHANGE),
    ("Channels", "alerts.channel", Verb.ALERT_VIEW, Verb.ALERT_CHANGE),
    ("Deliveries", "alerts.delivery", Verb.ALERT_VIEW, None),
    ("Pods", "fleet.pod", Verb.FLEET_VIEW, None),
    ("Requests", "usage.usagerecord", Verb.USAGE_VIEW, None),
    ("Events", "changes.auditevent", Verb.AUDIT_VIEW, None),
)

BUTTONS: Mapping[str, tuple[tuple[str, Verb], ...]] = {
    "keys.virtualkey": (
        ("Set up a CLI", Verb.KEY_VIEW),
        ("Rotate…", Verb.KEY_ROTATE),
        ("Disable", Verb.KEY_DISABLE),
        ("Revoke…", Verb.KEY_REVOKE),
        ("Save", Verb.KEY_CHANGE),
    ),
    "tenancy.principal": (("Save", Verb.PRINCIPAL_CHANGE),),
    "tenancy.group": (("Save", Verb.GROUP_CHANGE), ("Delete", Verb.GROUP_CHANGE)),
    "tenancy.project": (("Save", Verb.PROJECT_CHANGE),),
    "tenancy.team": (("Save", Verb.TEAM_CHANGE),),
    "tenancy.organization": (("Save", Verb.ORGANIZATION_CHANGE),),
    "tenancy.membership": (("Save", Verb.MEMBERSHIP_CHANGE), ("Delete", Verb.MEMBERSHIP_CHANGE)),
    "tenancy.apitoken": (("Revoke…", Verb.TOKEN_CHANGE),),
    "auth.user": (("Save", Verb.LOGIN_CHANGE),),
    "budgets.budget": (
        ("More money…", Verb.BUDGET_OVERRIDE),
        ("Withdraw…", Verb.BUDGET_OVERRIDE),
        ("Reset…", Verb.BUDGET_CHANGE),
        ("Switch off…", Verb.BUDGET_CHANGE),
        ("Save", Verb.BUDGET_CHANGE),
        ("Delete", Verb.BUDGET_CHANGE),
    ),
    "providers.provider": (("Test", Verb.PROVIDER_TEST), ("Save", Verb.PROVIDER_CHANGE)),
    "keys.modelalias": (("Save", Verb.ALIAS_CHANGE), ("Delete", Verb.ALIAS_CHANGE)),
    "providers.priceoverride": (("Save", Verb.PRICE_CHANGE), ("Delete", Verb.PRICE_CHANGE)),
    "alerts.alert": (),
    "alerts.alertrule": (("Save", Verb.ALERT_CHANGE), ("Delete", Verb.ALERT_CHANGE)),
    "alerts.channel": (("Test", Verb.ALERT_TEST), ("Save", Verb.ALERT_CHANGE), ("Delete", Verb.ALERT_CHANGE)),
    "alerts.delivery": (("Send again", Verb.ALERT_TEST),),
    "fleet.pod": (("Evict…", Verb.FLEET_CHANGE),),
    "usage.usagerecord": (),
    "changes.auditevent": (),
}

# Every button's words, to tell them from a page's other links.
WORDS = frozenset(words for buttons in BUTTONS.values() for words, _ in buttons) | {"Enable", "Switch on"}
SAVES = {"Save and continue editing", "Save and add another"}  # come and go with Save
PLACELESS = frozenset({"fleet.pod", "usage.usagerecord", "changes.auditevent", "auth.user"})  # no scope to ask about


def lists_of(role: Role) -> dict[str, tuple[str, bool]]:
    """The sidebar of a role: words → model, and whether something may be added."""
    verbs = TABLE[role]
    return {words: (model, add in verbs) for words, model, view, add in LISTS if view in verbs}


def buttons_for(actor: Actor, role: Role, row: Model) -> set[str]:
    label = row._meta.label_lower
    if label in PLACELESS:
        return {words for words, verb in BUTTONS[label] if verb in TABLE[role]}
    return {words for words, verb in BUTTONS[label] if may(actor, verb, row)}


def offered(words: set[str]) -> set[str]:
    """The buttons among what a page offers to press."""
    said = {"Delete" if one.startswith("Delete ") else "Save" if one in SAVES else one for one in words}
    return said & WORDS
