"""The progress of a change in words: the fleet's reading of it as the live page and its JSON show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from controlplane.fleet.register import queries
from controlplane.fleet.register.queries import PodReach, ReachState
from controlplane.pages.cells import BAD, GOOD, INFO, WARN


@dataclass(frozen=True, slots=True)
class PodProgress:
    """One pod's row of the table."""

    name: str
    state: str
    tone: str
    after: str
    remark: str


@dataclass(frozen=True, slots=True)
class ChangeProgress:
    """`done`: no pod serves anything older than the revision any more."""

    revision: int
    summary: str
    done: bool
    pods: tuple[PodProgress, ...]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def progress_of(revision: int) -> ChangeProgress:
    reached = queries.convergence(revision)
    summary = str(reached)
    return ChangeProgress(
        revision, summary[:1].upper() + summary[1:], reached.settled, tuple(_line(pod) for pod in reached.pods)
    )


def _line(standing: PodReach) -> PodProgress:
    pod, name = standing.pod, str(standing.pod)
    closes = f"{standing.fails_closed_at:%H:%M:%S} UTC" if standing.fails_closed_at is not None else ""
    match standing.reach:
        case ReachState.LIVE:
            return PodProgress(
                name, "live", GOOD, f"{standing.after_s:.2f} s" if standing.after_s is not None else "", ""
            )
        case ReachState.WAITING:
            return PodProgress(name, "waiting", INFO, "", "")
        case ReachState.REFUSED:
            remark = f"It cannot apply the configuration: {pod.nack_problem} It refuses everything from {closes}."
            return PodProgress(name, "refused", BAD, "", remark)
        case ReachState.NOT_UNDERSTOOD:
            remark = f"It is older than this change and refuses what that covers ({standing.problem}). Upgrade the pod."
            return PodProgress(name, "does not understand it", BAD, "", remark)
        case ReachState.TOO_OLD:
            return PodProgress(
                name, "too old", BAD, "", "It does not know of such a thing and ignores it. Upgrade the pod."
            )
        case ReachState.UNREACHABLE:
            return PodProgress(name, "unreachable", WARN, "", f"Fails closed at {closes} at the latest.")
        case ReachState.FAILED_CLOSED:
            return PodProgress(name, "fails closed", WARN, "", f"Silent: refuses everything since {closes}.")
