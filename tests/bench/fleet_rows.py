"""The database side of the fleet's bench, in a process of its own: many rows at first, then one change per line.

    python -m tests.bench.fleet_rows KEYS PRINCIPALS

prints `{"seeded": …}`; then every line on standard input (`revoke` or `rename`) is one change of another key, answered
with its revision and, in microseconds on CLOCK_MONOTONIC, when it was asked for and when it was committed.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Iterable
from itertools import islice
from typing import Any

import django

ORGANIZATIONS, PROJECTS_EACH = 20, 25
BATCH = 2_000


def now_us() -> int:
    return time.monotonic_ns() // 1000


def seed(keys: int, principals: int) -> None:
    """Behind the change set's back: the fleet server that starts afterwards reads everything in any case."""
    from django.db import transaction
    from django.db.models import QuerySet

    from controlplane.environment import environment
    from controlplane.keys.models import KeySecret, VirtualKey
    from controlplane.tenancy.models import Organization, Principal, Project, Team
    from dataplane.core import keys as core

    def write(model: Any, rows: Iterable[Any]) -> None:
        waiting = iter(rows)
        while batch := list(islice(waiting, BATCH)):
            QuerySet(model).bulk_create(batch)

    version, pepper = next(iter(environment().pepper_keyring().items()))
    organizations = [Organization(name=f"Org {n}", slug=f"org-{n}") for n in range(ORGANIZATIONS)]
    teams = [Team(organization=one, name="Team", slug="team") for one in organizations]
    projects = [
        Project(organization_id=team.organization_id, team=team, name=f"Project {n}", slug=f"project-{n}")
        for team in teams
        for n in range(PROJECTS_EACH)
    ]
    people = [
        Principal(organization=organizations[n % ORGANIZATIONS], display_name=f"Person {n}", email=f"p{n}@example.com")
        for n in range(principals)
    ]
    with transaction.atomic():
        for model, rows in ((Organization, organizations), (Team, teams), (Project, projects), (Principal, people)):
            write(model, rows)
        for start in range(0, keys, BATCH):
            made, digests = [], []
            for number in range(start, min(start + BATCH, keys)):
                person, minted = people[number % principals], core.mint("live", secrets.token_bytes)
                project = projects[(number % ORGANIZATIONS) * PROJECTS_EACH + number % PROJECTS_EACH]
                key = VirtualKey(
                    name=f"key-{number}",
                    organization_id=project.organization_id,
                    team_id=project.team_id,
                    project=project,
                    principal=person,
                    public_id=minted.public_id,
                )
                made.append(key)
                digests.append(
                    KeySecret(
                        organization_id=project.organization_id,
                        key=key,
                        public_id=minted.public_id,
                        pepper_version=version,
                        digest=core.digest(pepper, minted.token.reveal()),
                    )
                )
            write(VirtualKey, made)
            write(KeySecret, digests)


def change(words: Iterable[str]) -> None:
    from controlplane.changes.actor import Actor
    from controlplane.changes.models import Revision
    from controlplane.keys import actions
    from controlplane.keys.models import KeyState, VirtualKey

    by = Actor.system("bench")
    for number, word in enumerate(words):
        key = VirtualKey.objects.filter(state=KeyState.ACTIVE).order_by("pk")[0]
        asked = now_us()
        if word.strip() == "revoke":
            actions.revoke(key, by=by)
        else:
            actions.update(key, by=by, tags=[f"t{number}"])
        committed = now_us()
        revision = Revision.objects.values_list("value", flat=True).get()
        print(json.dumps({"revision": revision, "asked_us": asked, "committed_us": committed}), flush=True)


def main() -> None:
    django.setup()
    keys, principals = int(sys.argv[1]), int(sys.argv[2])
    seed(keys, principals)
    print(json.dumps({"seeded": keys}), flush=True)
    change(sys.stdin)


if __name__ == "__main__":
    main()
