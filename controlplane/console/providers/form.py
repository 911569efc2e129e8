"""Forms of providers and price overrides. A credential goes in; no form ever holds the stored one."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from controlplane.console.fields import CutField, LinesField, PairsField
from controlplane.providers.kinds import KINDS
from controlplane.providers.models import PriceOverride, Provider
from controlplane.providers.waits import NAMES
from dataplane.core.snapshot import Unpriced
from dataplane.core.usage import UsageClass

UNPRICED_WORDS = {
    Unpriced.REFUSE: "Refuse the request",
    Unpriced.DEAREST_IN_FAMILY: "Charge the dearest price of its family",
    Unpriced.FREE: "Charge nothing",
}


class CredentialField(forms.CharField):
    """Write-only: what was typed is not rendered back, not even after an error."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminPasswordWidget(
            attrs={"autocomplete": "new-password", "spellcheck": "false"}, render_value=False
        )
        super().__init__(widget=widget, strip=True, max_length=4096, **kwargs)


class WaitsField(PairsField):
    """One `model = seconds, seconds` per line. Cleans to the entries that a provider keeps."""

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        lines = [(entry["models"], [entry[name] for name in NAMES]) for entry in value]
        return "\n".join(f"{models} = {_typed(*seconds)}" for models, seconds in lines)

    def clean(self, value: Any) -> Any:
        return [{"models": models, **_said(models, text)} for models, text in super().clean(value).items()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(list(initial or []) != self.clean(data))
        except ValidationError:
            return True


def _typed(first_byte_s: int | None, idle_s: int | None) -> str:
    return f"{first_byte_s or ''}, {idle_s}" if idle_s else str(first_byte_s or "")


def _said(models: str, text: str) -> dict[str, int | None]:
    words = [word.strip() for word in text.split(",")]
    numbers = all(word.isascii() and word.isdigit() and len(word) < 6 for word in words if word)
    if len(words) > len(NAMES) or not numbers:
        raise ValidationError(f"{models}: one or two whole numbers of seconds, such as 1800 or 1800, 900.")
    return {name: int(word) if word else None for name, word in zip_longest(NAMES, words, fillvalue="")}


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    credential = CredentialField(
        required=False,
        label="New credential",
        help_text="Empty: the stored one stays, unless the host or port changes.",
    )
    models = LinesField(
        placeholder="claude-*",
        help_text="One pattern per line. Empty: the kind's own names (claude*, gpt*, gemini*, …).",
    )
    deployments = PairsField(placeholder="gpt-5.5 = my-deployment", help_text="One model = deployment per line.")
    account_headers = PairsField(
        label="Account headers",
        placeholder="openai-project = proj_…",
        help_text="Which account of the provider's requests are for: one header = value per line. Clients cannot say "
        "it. "
        + "; ".join(
            f"{kind.label}: {', '.join(kind.account_headers)}" for kind in KINDS.values() if kind.account_headers
        )
        + ".",
    )
    unpriced = forms.ChoiceField(
        choices=[(choice.value, words) for choice, words in UNPRICED_WORDS.items()],
        widget=UnfoldAdminSelectWidget,
        initial=Unpriced.DEAREST_IN_FAMILY.value,
        label="Models without a price",
        help_text="What happens to a model that the price list does not know.",
    )

    model_waits = WaitsField(
        label="Seconds of single models",
        placeholder="o3-deep-research* = 1800, 900",
        help_text="One model = seconds until its answer begins, seconds of silence per line; either may be left out. "
        "The first line that matches holds.",
    )

    cut = CutField()

    class Meta:
        model = Provider
        labels = {
            "first_byte_s": "Seconds until an answer begins",
            "idle_s": "Seconds of silence",
            "no_stream_options": "Refuses stream_options",
        }
        fields = (
            "name", "base_url", "enabled", "models", "priority", "unpriced", "price_provider", "account_headers",
            "first_byte_s", "idle_s", "model_waits", "no_stream_options",
            "api_version", "deployments",
        )  # fmt: skip


class ProviderAddForm(ProviderForm):
    cut = None  # type: ignore[assignment] # nothing runs there yet
    kind = forms.ChoiceField(
        choices=[(kind.kind.value, kind.label) for kind in KINDS.values()], widget=UnfoldAdminSelectWidget
    )
    base_url = forms.CharField(
        required=False,
        max_length=500,
        label="Base URL",
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: the kind's own address.",
    )
    credential = CredentialField(help_text="Sealed at once and never shown again, only its last four characters.")

    class Meta:
        model = Provider
        labels = ProviderForm.Meta.labels
        fields = ("organization", "kind", *(name for name in ProviderForm.Meta.fields if name != "enabled"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind = next((kind for kind in KINDS.values() if kind.kind.value == cleaned.get("kind")), None)
        if kind is not None and not cleaned.get("base_url") and not kind.base_url:
            self.add_error("base_url", f"{kind.label} has no address of its own. {kind.base_url_help}")
        return cleaned


class PriceOverrideForm(forms.ModelForm):  # type: ignore[type-arg]
    match = LinesField(label="Also for", help_text="Patterns of the names that requests use. Empty: the model's name.")
    rates = PairsField(
        rows=4,
        placeholder="input = 3\noutput = 15",
        help_text="US dollars per million: one class = amount per line. Classes: "
        + ", ".join(unit.value for unit in UsageClass)
        + ".",
    )
    geo_percent = PairsField(
        label="Places",
        rows=2,
        placeholder="us = 110",
        help_text="Per cent of the price of tokens, by the place of an answer: the provider's word, or . and the "
        "end of its host.",
    )
    tier_percent = PairsField(
        label="Tiers",
        rows=2,
        placeholder="priority = 180",
        help_text="Per cent of the price of tokens, by the service tier that an answer says.",
    )

    class Meta:
        model = PriceOverride
        fields = (
            "organization", "provider", "model", "match", "rates", "discount_percent", "geo_percent", "tier_percent"
        )  # fmt: skip
