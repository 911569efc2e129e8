"""The form of an API token."""

from __future__ import annotations

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from controlplane.tenancy.models import ApiToken
from controlplane.tenancy.permissions import OPERATORS_ONLY, Verb


class ApiTokenForm(forms.ModelForm):  # type: ignore[type-arg]
    """Verbs are chosen from the list of all there are."""

    verbs = forms.MultipleChoiceField(
        choices=[(verb.value, verb.value) for verb in Verb if verb not in OPERATORS_ONLY],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None ticked: all of its role's verbs.",
    )

    class Meta:
        model = ApiToken
        fields = ("organization", "name", "role", "team", "verbs", "expires_at")
