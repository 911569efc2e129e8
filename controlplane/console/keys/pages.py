"""The pages around one virtual key: shown once, rotate, disable, enable, revoke, and how far a change has got."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse

from controlplane.changes.models import ResourceKind
from controlplane.changes.queries import revision_of
from controlplane.console.addresses import page_of
from controlplane.console.form_token import new_token
from controlplane.console.keys.words import serving_words, staleness
from controlplane.console.minting import show_once
from controlplane.console.questions import ask, breadcrumbs
from controlplane.keys.models import KeyState, VirtualKey
from controlplane.pages.convergence import ChangeProgress, progress_of
from controlplane.pages.setups import target_of
from dataplane.core.secret import Secret

GRACES = (
    ("24", "24 hours: engineers change their key at leisure", True),
    ("72", "72 hours", False),
    ("1", "1 hour", False),
    ("0", "None: the old secret stops now, everywhere; answers that it began go on to their end", False),
    ("0-cut", "None, and answers that it began end too, within a second: for a secret that leaked", False),
)
DISABLE_STREAMS = (
    ("drain", "Let running answers finish; only new requests are refused", True),
    ("cut", "End them too, within a second: for a secret that leaked", False),
)
STREAMS = (
    ("cut", "End them too, within a second", True),
    ("drain", "Let running answers finish; only new requests are refused", False),
)


def minted(request: HttpRequest, site: AdminSite, key: VirtualKey, token: Secret) -> TemplateResponse:
    works, where = serving_words()
    return show_once(
        request,
        site,
        token=token,
        context={
            "title": "Virtual key",
            **breadcrumbs(key),
            "heading": f"“{key.name}” is minted{' and works now' if works else ''}",
            "secret_name": "Virtual key",
            "remark": where,
            "done_url": page_of(key),
        },
        target=target_of(key, token.reveal().decode()),
    )


def rotated(request: HttpRequest, site: AdminSite, key: VirtualKey, token: Secret) -> TemplateResponse:
    grace, cut = chosen_grace(request)
    hours = int(grace.total_seconds() // 3600)
    if hours:
        remark = f"The old secret works for another {hours} h."
    elif cut:
        remark = "The old secret has stopped working, and the answers that it began are ended."
    else:
        remark = "The old secret has stopped working. Answers that it began go on to their end."
    return show_once(
        request,
        site,
        token=token,
        context={
            "title": "Virtual key",
            **breadcrumbs(key),
            "heading": f"“{key.name}” has a new secret",
            "secret_name": "Virtual key",
            "remark": remark,
            "done_url": page_of(key, "live"),
        },
        target=target_of(key, token.reveal().decode()),
    )


def chosen_grace(request: HttpRequest) -> tuple[timedelta, bool]:
    """How long, and whether running answers end too. Raises ValidationError for what the page does not offer."""
    chosen = request.POST.get("grace", "")
    if chosen not in {value for value, _, _ in GRACES}:
        raise ValidationError("Choose how long the old secret keeps working.")
    hours, _, cut = chosen.partition("-")
    return timedelta(hours=int(hours)), bool(cut)


def ask_rotate(request: HttpRequest, site: AdminSite, key: VirtualKey, errors: Sequence[str] = ()) -> TemplateResponse:
    return ask(
        request,
        site,
        title="Rotate",
        about=key,
        question=f"Give “{key.name}” a new secret?",
        lead="The key keeps its name, limits and history. The new secret is shown once, on the next page.",
        submit="Rotate and show the new secret",
        back_url=page_of(key),
        choices_name="grace",
        choices_legend="How long does the old secret keep working?",
        choices=GRACES,
        errors=errors,
        form_token=new_token(request),
    )


def ask_disable(request: HttpRequest, site: AdminSite, key: VirtualKey) -> TemplateResponse:
    return ask(
        request,
        site,
        title="Disable",
        about=key,
        question=f"Disable “{key.name}”?",
        lead="New requests are refused within a second, with words that say so.",
        consequences=["You can enable it again at any time; the secret stays the same."],
        submit="Disable",
        back_url=page_of(key),
        choices_name="streams",
        choices_legend="What about answers that are running now?",
        choices=DISABLE_STREAMS,
        text_name="reason",
        text_label="Reason (optional; kept with the key and in the audit)",
    )


def ask_enable(request: HttpRequest, site: AdminSite, key: VirtualKey) -> TemplateResponse:
    return ask(
        request,
        site,
        title="Enable",
        about=key,
        question=f"Enable “{key.name}”?",
        lead="The key works again within a second, with the secret that it had.",
        submit="Enable",
        back_url=page_of(key),
    )


def ask_revoke(request: HttpRequest, site: AdminSite, key: VirtualKey) -> TemplateResponse:
    return ask(
        request,
        site,
        title="Revoke",
        about=key,
        question=f"Revoke “{key.name}” for good?",
        lead="This cannot be taken back. Whoever uses the key has to be given a new one.",
        consequences=[
            "Every pod refuses the key, normally within a second of pressing the button.",
            "A secret that a rotation left working for a while stops as well.",
            staleness(key),
            "Usage and audit of the key stay.",
        ],
        submit="Revoke for good",
        danger=True,
        back_url=page_of(key),
        choices_name="streams",
        choices_legend="What about answers that are running now?",
        choices=STREAMS,
    )


def convergence_of(key: VirtualKey) -> ChangeProgress:
    return progress_of(revision_of(ResourceKind.VIRTUAL_KEY, key.pk))


def live(request: HttpRequest, site: AdminSite, key: VirtualKey) -> HttpResponse:
    heading = {
        KeyState.REVOKED: f"“{key.name}” is revoked",
        KeyState.DISABLED: f"“{key.name}” is disabled",
        KeyState.ACTIVE: f"“{key.name}” is active",
    }[KeyState(key.state)]
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": "Live on pods",
        **breadcrumbs(key),
        "heading": heading,
        "explanation": staleness(key),
        "convergence": convergence_of(key),
        "poll_url": page_of(key, "live_json"),
        "done_url": page_of(key),
        "done_label": "Back to the key",
    }
    return TemplateResponse(request, "console/convergence.html", context)


def live_json(key: VirtualKey) -> JsonResponse:
    return JsonResponse(convergence_of(key).plain(), headers={"Cache-Control": "no-store"})
