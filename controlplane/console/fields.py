"""Form fields for values that the database keeps as lists and maps: people type lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget


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
