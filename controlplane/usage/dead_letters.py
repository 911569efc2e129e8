"""Dead letters, as many as people may want to look at: what a pod sends that is no record cannot fill the database.

The newest of each pod are kept one by one, within a number for all pods; of older ones there is, for each pod and day,
how many there were. A letter keeps its record where that is small, or among the first of its batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from django.db.models import F, QuerySet

from controlplane.usage.models import DeadLetter

MOST_OF_ONE_POD: Final = 1_000
MOST: Final = 10_000
MOST_AT_A_TIME: Final = 1_000  # that are made to a number; the rest follows with the next batch
LARGEST_CONTENT: Final = 64 * 1024  # beyond it only the problem is kept
LARGE_ONES: Final = 10  # of one batch; the content of the others is kept up to SMALL
SMALL: Final = 4 * 1024
_PROBLEM: Final = 500


def one_by_one() -> QuerySet[DeadLetter]:
    return DeadLetter.objects.filter(seq__gte=0)


def numbers() -> QuerySet[DeadLetter]:
    """Rows that say how many were not kept: of a pod, on a day."""
    return DeadLetter.objects.filter(seq__lt=0)


def keep(letters: Sequence[DeadLetter], identity: str, now: datetime) -> None:
    """`identity`: the name in the certificate of the pod that sent them. In the caller's transaction."""
    if not letters:
        return
    large = 0
    for letter in letters:
        letter.identity = identity
        large += len(letter.content) > SMALL
        if len(letter.content) > (LARGEST_CONTENT if large <= LARGE_ONES else SMALL):
            letter.content = b""
    DeadLetter.objects.bulk_create(letters[-MOST_OF_ONE_POD:], ignore_conflicts=True)
    dropped = [(letter.identity, letter.problem) for letter in letters[:-MOST_OF_ONE_POD]]
    dropped += _drop(one_by_one().filter(identity=identity), MOST_OF_ONE_POD)
    dropped += _drop(one_by_one(), MOST)
    _count(dropped, now)


def _drop(rows: QuerySet[DeadLetter], most: int) -> list[tuple[str, str]]:
    """All but the newest. Returns the pod and the problem of each that is gone, the newest last."""
    past = rows.order_by("-pk").values_list("pk", "identity", "problem")[most : most + MOST_AT_A_TIME]
    dropped = list(past)[::-1]
    DeadLetter.objects.filter(pk__in=[pk for pk, _, _ in dropped]).delete()
    return [(identity, problem) for _, identity, problem in dropped]


def _count(dropped: Iterable[tuple[str, str]], now: datetime) -> None:
    """Everybody in the same order, so that no two wait for each other."""
    of_pods: dict[str, list[str]] = {}
    for identity, problem in dropped:
        of_pods.setdefault(identity, []).append(problem)
    for identity, problems in sorted(of_pods.items()):
        day = {"session_id": f"of {identity}"[:64], "seq": -now.toordinal()}
        DeadLetter.objects.bulk_create(
            [DeadLetter(identity=identity, count=0, received_at=now, content=b"", **day)], ignore_conflicts=True
        )
        last = f"not kept one by one; the last of them: {problems[-1]}"[:_PROBLEM]
        DeadLetter.objects.filter(**day).update(count=F("count") + len(problems), received_at=now, problem=last)
