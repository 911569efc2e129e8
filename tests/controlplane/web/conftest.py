"""An organization and a program that administers it."""

from __future__ import annotations

import pytest

from controlplane.tenancy.models import Organization
from tests.controlplane import factories as make
from tests.controlplane.rest.program import Api


@pytest.fixture
def organization(db: None) -> Organization:
    return make.organization()


@pytest.fixture
def api(organization: Organization) -> Api:
    return Api(organization)
