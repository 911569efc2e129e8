"""Every registry in which a kind of provider must stand, in both planes: one entry for each, also where it is none."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from controlplane.providers import api, models
from controlplane.providers.kinds import KINDS as ADMIN_KINDS
from controlplane.providers.price_compiler import FAMILIES
from dataplane.core import kinds
from dataplane.core.money.estimates import HIDING
from dataplane.core.money.prices import PRICES_OF_KIND
from dataplane.core.snapshot import ProviderKind
from dataplane.dialects.dialect import DialectName
from dataplane.providers.registry import KINDS as UPSTREAM_KINDS
from dataplane.telemetry.spans import PROVIDER_NAMES
from tests.providers.test_upstream import BASES

REGISTRIES: dict[str, Collection[str]] = {
    "DIALECTS of dataplane/core/kinds.py": kinds.DIALECTS,
    "NAMES of dataplane/core/kinds.py": kinds.NAMES,
    "KINDS of dataplane/providers/registry.py": UPSTREAM_KINDS,
    "PRICES_OF_KIND of dataplane/core/money/prices.py": PRICES_OF_KIND,
    "HIDING of dataplane/core/money/estimates.py": HIDING,
    "PROVIDER_NAMES of dataplane/telemetry/spans.py": PROVIDER_NAMES,
    "KINDS of controlplane/providers/kinds/__init__.py": ADMIN_KINDS,
    "the choices of Provider.kind": dict(models.Provider._meta.get_field("kind").choices or ()),
    "KINDS of controlplane/providers/api.py": dict(api.KINDS),
    "BASES of tests/providers/test_upstream.py": BASES,
}


@pytest.mark.parametrize("registry", REGISTRIES)
def test_every_kind_stands_in_every_registry_and_nothing_else_does(registry):
    assert set(REGISTRIES[registry]) == set(ProviderKind), registry


def test_an_admins_kind_is_registered_under_its_own_word():
    assert all(kind.kind is word for word, kind in ADMIN_KINDS.items())


def test_every_kind_speaks_a_dialect_that_there_is():
    assert set().union(*kinds.DIALECTS.values()) == set(DialectName)
    assert all(kinds.DIALECTS.values())


def test_the_price_list_has_every_family_that_a_kind_is_priced_by():
    assert set(FAMILIES) == set(PRICES_OF_KIND.values()) - {""}
