"""`manage.py resettle`: price past usage anew after a price was corrected. Shows what it would do unless told to."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from controlplane.changes.actor import Actor
from controlplane.tenancy.models import Organization
from controlplane.usage.resettle import resettle


class Command(BaseCommand):
    help = "Price past usage anew by the price list in force: differences become rows of their own, budgets included."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organization", help="id or slug")
        parser.add_argument("--since", required=True, help="start of the attempts, ISO 8601, UTC unless it says")
        parser.add_argument("--until", default="", help="exclusive; default: now")
        parser.add_argument("--model", default="", help="only this model, as it was sent to the provider")
        parser.add_argument("--apply", action="store_true", help="write it; otherwise only say what would be written")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["organization"]
        organization = Organization.objects.filter(pk=name).first() or Organization.objects.filter(slug=name).first()
        if organization is None:
            raise CommandError(f"no such organization: {name}")
        result = resettle(
            organization,
            by=Actor.system("resettle"),
            since=_moment(options["since"]),
            until=_moment(options["until"]) if options["until"] else None,
            model=options["model"],
            apply=options["apply"],
        )
        verb = "corrected" if options["apply"] else "would be corrected (--apply does it)"
        self.stdout.write(
            f"{result.looked_at} attempts priced anew, {result.attempts} {verb}, "
            f"{result.difference_nano / 10**9:+.9f} dollars in total"
        )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as problem:
        raise CommandError(f"not a time: {text}") from problem
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment, timezone.get_default_timezone())
