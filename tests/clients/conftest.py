"""The target of the CLIs, and their installation: what cannot be fetched is skipped with its reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.clients.cli import Case, Cli
from tests.clients.gateway import Target, open_target
from tests.clients.install import CouldNotInstall, Installed, Package, install


@pytest.fixture(scope="session")
def running_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """AIGATEWAY_TEST_CLIENTS_TARGET: `gateway` (the default) or `direct`."""
    which = os.environ.get("AIGATEWAY_TEST_CLIENTS_TARGET", "gateway")
    with open_target(which, tmp_path_factory.mktemp("clients")) as target:
        yield target


@pytest.fixture
def gateway(running_gateway: Target) -> Target:
    """With a simulator that remembers nothing."""
    running_gateway.simprovider.reset()
    return running_gateway


@pytest.fixture
def installed() -> Callable[[Cli, Case], Installed]:
    def of(cli: Cli, case: Case) -> Installed:
        try:
            return install(cli.name, Package(cli.ecosystem, cli.package, case.version))
        except CouldNotInstall as reason:
            pytest.skip(f"NOT TESTED, {cli.name} {case.version} could not be installed: {reason}")

    return of
