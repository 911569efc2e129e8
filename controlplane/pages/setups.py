"""Setups: how the coding CLIs are pointed at the gateway, for one key or before there is any."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.environment import environment
from controlplane.keys.models import ModelAlias, VirtualKey
from controlplane.pages.recipes import PLACEHOLDER, RECIPES, CliTarget, Recipe, Setup
from controlplane.providers.models import Provider


def setups(target: CliTarget) -> Sequence[tuple[Recipe, Setup]]:
    """Every recipe with its finished instructions."""
    return [(recipe, recipe.setup(target)) for recipe in RECIPES]


def target_of(key: VirtualKey, token: str = PLACEHOLDER) -> CliTarget:
    """Where this key's CLIs go, with models that it can use: its own list, else aliases and what providers declare."""
    models: list[str] = list(key.models_allowed)
    if not models:
        aliases = ModelAlias.objects.filter(organization_id=key.organization_id, project=None, key=None)
        models += aliases.order_by("alias").values_list("alias", flat=True)
        providers = Provider.objects.filter(organization_id=key.organization_id, enabled=True).order_by(
            "priority", "pk"
        )
        for declared in providers.values_list("models", flat=True):
            models += declared
    return CliTarget(environment().public_gateway_url.rstrip("/"), token, tuple(dict.fromkeys(models)))
