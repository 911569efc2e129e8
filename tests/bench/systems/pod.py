"""Our pod with everything on: keys, three blocking budgets, prices, usage records on disk and reported, metrics, logs,
traces to a collector; and the same without budgets.

The control plane around it is the real one (`House`), on the generator's core behind the load; the mock is provider and
collector.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.demo.__main__ import Demo
from tests.bench.accounting import Tree
from tests.bench.processes import PREFERRED, await_answer, prefer, process
from tests.bench.systems.system import Site, Start, System, bearer
from tests.contract.house import House, free_port, open_house

YIELDING = 19  # the control plane's niceness: it works when the generator leaves it the core
EVERYTHING = 3  # budgets above a key: its own, its project's, its team's
FAR_NANO = 10**15  # a limit that no run comes near


class Estate:
    """A control plane and the means to start pods that belong to it."""

    def __init__(self, house: House, site: Site) -> None:
        self.house = house
        self.site = site
        self._keys: dict[int, str] = {}

    @property
    def control(self) -> tuple[Tree, ...]:
        """What still runs of it."""
        children = self.house.supervisor.children
        return tuple(Tree(child.process.pid) for child in children if child.process is not None and child.alive)

    def keep_up(self) -> None:
        """Where no CPU is measured the control plane need not stand back: a backlog, or a pod gone stale, would be seen
        instead."""
        _set_niceness(self.house, PREFERRED)

    def credentials(self, budgets: int) -> dict[str, str]:
        """Of a key under so many blocking budgets, in a project and team of its own; always the same one."""
        if budgets not in self._keys:
            self._keys[budgets] = _key_under(self.house, budgets)
        return bearer(self._keys[budgets])

    def environment(self, port: int, settings: Mapping[str, str]) -> dict[str, str]:
        """A pod's own, without the link that the house can break."""
        spool = self.site.scratch / f"spool-{port}"
        return Demo.pod_environment(self.house, 0) | {
            "AIGATEWAY_LISTEN": f"127.0.0.1:{port}",
            "AIGATEWAY_SPOOL_DIR": str(spool),
            "AIGATEWAY_DRAIN_S": "1",
            "AIGATEWAY_FLUSH_S": "2",
            "AIGATEWAY_SPOOL_BYTES": str(2**30),
            "AIGATEWAY_EXCHANGES": "12000",
            "AIGATEWAY_CONNECTIONS": "12000",
            "AIGATEWAY_UPSTREAM_PER_HOST": "12000",
            "AIGATEWAY_OTLP_ENDPOINT": f"http://127.0.0.1:{self.site.mock_port}",
            **settings,
        }

    @contextlib.contextmanager
    def pod(
        self,
        *arguments: str,
        cores: tuple[int, ...] | None = None,
        settings: Mapping[str, str] | None = None,
        budgets: int | None = EVERYTHING,
    ) -> Iterator[System]:
        """`budgets`: above the key that it is asked with; None: nobody asks it anything."""
        # Before the pod starts, so that it has them when it is ready.
        credentials = {} if budgets is None else self.credentials(budgets)
        port = free_port()
        log = self.site.scratch / f"pod-{port}.log"
        environment = self.environment(port, settings or {})
        command = [sys.executable, "-m", "dataplane", *arguments]
        with process(command, cores=cores or self.site.cores, log=log, environment=environment) as child:
            start_s = await_answer(child, port, "/readyz", log, ready=True, tls="AIGATEWAY_LISTEN_CERT" in environment)
            yield System(
                "pod" if budgets is None else f"pod-{budgets}",
                port,
                Tree(child.pid),
                credentials,
                start_s,
                control=self.control,
            )


def _key_under(house: House, budgets: int) -> str:
    organization = house.report["organization_id"]
    name = f"under-{budgets}"
    team = house.post("teams", {"name": name, "slug": name, "organization_id": organization})
    project = house.post("projects", {"name": name, "slug": name, "team_id": team["id"]})
    key = house.mint(project_id=project["id"])
    scopes = (("virtual_key", key["id"]), ("project", project["id"]), ("team", team["id"]))
    for kind, scope in scopes[:budgets]:
        limit = {"scope_kind": kind, "scope_id": scope, "window": "month", "limit_nano": FAR_NANO}
        body = {"name": f"{name}-{kind}", "organization_id": organization, "on_breach": "block", **limit}
        house.post("budgets", body)
    return str(key["token"])


@contextlib.contextmanager
def estate(site: Site, provider: str = "") -> Iterator[Estate]:
    """`provider`: where pods send requests; default, the mock itself."""
    mock = provider or f"http://127.0.0.1:{site.mock_port}"
    upstream = {"DEMO_OPENAI_BASE_URL": f"{mock}/v1", "DEMO_ANTHROPIC_BASE_URL": mock}
    house = open_house(Path(site.scratch) / "house", settings=upstream)
    try:
        house.kill(house.pods[0].name)  # the pods here are started by `Estate.pod`
        house.kill("simprovider")
        _set_niceness(house, YIELDING)
        yield Estate(house, site)
    finally:
        _set_niceness(house, 0)
        house.close()


def _set_niceness(house: House, niceness: int) -> None:
    for child in house.supervisor.children:
        if child.process is not None and child.alive:
            prefer(child.process.pid, niceness)


def pod_under(budgets: int) -> Start:
    @contextlib.contextmanager
    def start(site: Site) -> Iterator[System]:
        with estate(site) as grounds, grounds.pod(budgets=budgets) as system:
            grounds.keep_up()  # the load runs ahead of it, and the next slice waits for what it still has to book
            yield system

    return start
