"""`manage.py verify_audit`: walk every audit chain; exit 1 when one does not hold."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from controlplane.changes import audit


class Command(BaseCommand):
    help = "Checks the hash chain of every organization's audit and prints the heads, to be kept elsewhere."

    def handle(self, *args: Any, **options: Any) -> None:
        broken = []
        for head in audit.heads():
            problem = audit.verify(head.organization_id)
            name = head.organization_id or "installation"
            if problem is None:
                self.stdout.write(f"{name}: {head.seq} events, head {head.hash}")
            else:
                broken.append(f"{name}: event {problem.seq}: {problem.problem}")
        if broken:
            raise CommandError("\n".join(broken))
