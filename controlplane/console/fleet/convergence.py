"""How far a change has got, in words: the fleet's reading of it as the live page and its JSON show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from controlplane.console.cells import BAD, GOOD, INFO, WARN
from controlplane.fleet.register import queries
from controlplane.fleet.register.queries import PodReach, ReachState


@dataclass(frozen=True, slots=True)
class PodLine:
    """One pod's row of the table."""

    name: str
    state: str
    tone: str
    after: str
    remark: str


@dataclass(frozen=True, slots=True)
class Convergence:
    """`done`: no pod serves anything older than the revision any more."""

    revision: int
    summary: str
    done: bool
    pods: tuple[PodLine, ...]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def converge(revision: int) -> Convergence:
    found = queries.convergence(revision)
    summary = str(found)
    return Convergence(
        revision, summary[:1].upper() + summary[1:], found.settled, tuple(_line(pod) for pod in found.pods)
    )


def _line(found: PodReach) -> PodLine:
    name = str(found.pod)
    closes = f"{found.fails_closed_at:%H:%M:%S} UTC" if found.fails_closed_at is not None else ""
    match found.reach:
        case ReachState.LIVE:
            return PodLine(name, "live", GOOD, f"{found.after_s:.2f} s" if found.after_s is not None else "", "")
        case ReachState.WAITING:
            return PodLine(name, "waiting", INFO, "", "")
        case ReachState.REFUSED:
            remark = f"It cannot apply the configuration: {found.pod.nack_problem} It refuses everything from {closes}."
            return PodLine(name, "refused", BAD, "", remark)
        case ReachState.NOT_UNDERSTOOD:
            remark = f"It is older than this change and refuses what that covers ({found.problem}). Upgrade the pod."
            return PodLine(name, "does not understand it", BAD, "", remark)
        case ReachState.TOO_OLD:
            return PodLine(
                name, "too old", BAD, "", "It does not know of such a thing and ignores it. Upgrade the pod."
            )
        case ReachState.UNREACHABLE:
            return PodLine(name, "unreachable", WARN, "", f"Fails closed at {closes} at the latest.")
        case ReachState.FAILED_CLOSED:
            return PodLine(name, "fails closed", WARN, "", f"Silent: refuses everything since {closes}.")
