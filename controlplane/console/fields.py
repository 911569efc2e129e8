"""Form fields for values that the database keeps as lists and maps, for which people type lines; and for cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldBooleanSwitchWidget


class LinesField(forms.CharField):
    """One value per line; commas separate too. Cleans to a list of text."""

    def __init__(self, *, rows: int = 3, placeholder: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        widget = UnfoldAdminTextareaWidget(attrs={"rows": rows, "placeholder": placeholder})
        super().__init__(widget=widget, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) or not isinstance(value, Sequence) else "\n".join(map(str, value))

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return [part.strip() for line in text.splitlines() for part in line.split(",") if part.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(list(initial or []) != self.clean(data))


class PairsField(forms.CharField):
    """One `name = value` per line. Cleans to a map of text."""

    def __init__(self, *, rows: int = 3, placeholder: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        widget = UnfoldAdminTextareaWidget(attrs={"rows": rows, "placeholder": placeholder})
        super().__init__(widget=widget, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return "\n".join(f"{name} = {item}" for name, item in value.items())

    def clean(self, value: Any) -> Any:
        pairs: dict[str, str] = {}
        for number, line in enumerate(super().clean(value).splitlines(), start=1):
            if not line.strip():
                continue
            name, sign, item = line.partition("=")
            if not sign or not name.strip():
                raise ValidationError(f"Line {number} must read name = value.")
            if name.strip() in pairs:
                raise ValidationError(f"Line {number}: {name.strip()} is there twice.")
            pairs[name.strip()] = item.strip()
        return pairs

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(dict(initial or {}) != self.clean(data))
        except ValidationError:
            return True


class CutField(forms.BooleanField):
    """Whether the answers that run under a row end when its change is live; unticked, they go on to their end."""

    def __init__(self) -> None:
        super().__init__(
            required=False,
            label="Cut running answers",
            widget=UnfoldBooleanSwitchWidget,
            help_text="Saving ends what runs now, within a second: for a secret that leaked. Unticked, running answers "
            "go on to their end; what is switched off refuses new requests only.",
        )


class CutForm(forms.ModelForm):  # type: ignore[type-arg]
    """The change of a row that requests run under."""

    cut = CutField()
