"""What a CLI is pointed at: a pod of the whole product, or the simulator itself, to tell whose fault a failure is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.simprovider import SimClient, SimInThread

DIRECT_KEY = "sk-direct-0123456789"
VENDORS = ("anthropic", "openai", "azure", "gemini")


@dataclass(frozen=True, slots=True)
class Key:
    """A credential for a CLI; `id` is the control plane's, empty in direct mode."""

    id: str
    token: str


class Target(Protocol):
    """`url` and `virtual_key` are what an engineer gets; `simprovider` is what stands at the end."""

    url: str
    virtual_key: str
    simprovider: SimClient
    direct: bool

    def key(self) -> Key:
        """One that works now, and nobody else uses."""
        ...

    def revoke(self, key: Key) -> None: ...

    def await_refusal(self, key: Key) -> None:
        """Until a new request with the key is turned away."""
        ...

    def limit(self, key: Key, nano: int) -> None:
        """A budget of so many nano-dollars on the key, known to the pod when this returns."""
        ...

    def refusals(self) -> int:
        """How often revoked keys were turned away so far."""
        ...

    def records(self, key: Key) -> list[dict[str, Any]]:
        """The ledger's records of the key, once all that the pod answered is in it; nothing in direct mode."""
        ...


class Direct:
    """The simulator alone: any key will do until one is revoked, and then only another one."""

    direct = True
    virtual_key = DIRECT_KEY

    def __init__(self, url: str, simprovider: SimClient) -> None:
        self.url = url
        self.simprovider = simprovider

    def key(self) -> Key:
        self.simprovider.keys()
        return Key("", DIRECT_KEY)

    def revoke(self, key: Key) -> None:
        self.simprovider.keys(**dict.fromkeys(VENDORS, "sk-another"))

    def await_refusal(self, key: Key) -> None:
        """At once, here."""

    def limit(self, key: Key, nano: int) -> None:
        raise NotImplementedError("nobody keeps a budget here")

    def refusals(self) -> int:
        return sum(record["ended"] == "error" for record in self.simprovider.requests())

    def records(self, key: Key) -> list[dict[str, Any]]:
        return []


class Governed:
    """A pod with everything behind it."""

    direct = False

    def __init__(self, house: Any) -> None:
        self._house = house
        self.url = house.layout.gateway_urls[0]
        self.virtual_key = house.virtual_key
        self.simprovider = SimClient(house.layout.sim_url)

    def key(self) -> Key:
        minted = self._house.mint()
        return Key(minted["id"], minted["token"])

    def revoke(self, key: Key) -> None:
        self._house.post(f"virtual-keys/{key.id}/revoke")

    def await_refusal(self, key: Key) -> None:
        from tests.contract.house import eventually

        def refused() -> bool:
            with self._house.gateway(0, key.token) as client:
                return bool(client.get("/v1/models").status_code == 401)

        eventually("the revoked key is refused", refused)

    def limit(self, key: Key, nano: int) -> None:
        from tests.contract.house import eventually

        budget = {
            "organization_id": self._house.report["organization_id"],
            "name": "client budget",
            "scope_kind": "virtual_key",
            "scope_id": key.id,
            "limit_nano": nano,
            "overdraft_nano": 1,
            "contact": "ops@acme.test",
        }
        self._house.post("budgets", budget)

        def known() -> bool:
            with self._house.gateway(0, key.token) as client:
                return bool(client.get("/v1/budget").json().get("data"))

        eventually("the pod knows the budget", known)

    def refusals(self) -> int:
        lines = [line for line in self._house.metrics().splitlines() if 'code="virtual_key_revoked"' in line]
        return int(sum(float(line.rpartition(" ")[2]) for line in lines if "requests_total" in line))

    def records(self, key: Key) -> list[dict[str, Any]]:
        from tests.contract.house import eventually

        def all_booked() -> bool:
            return "aigateway_spool_records 0.0" in self._house.metrics()

        eventually("everything that the pod answered is in the ledger", all_booked)
        found: list[dict[str, Any]] = self._house.usage(key_id=key.id)
        return found


@contextlib.contextmanager
def open_target(which: str, folder: Path) -> Iterator[Target]:
    """`direct` or `gateway`."""
    if which == "direct":
        with SimInThread() as sim, SimClient(sim.url) as client:
            yield Direct(sim.url, client)
        return
    if which != "gateway":
        raise ValueError(f"AIGATEWAY_TEST_CLIENTS_TARGET is direct or gateway, not {which!r}")
    from tests.contract.house import open_house

    house = open_house(folder, pods=1)
    try:
        yield Governed(house)
    finally:
        house.close()
