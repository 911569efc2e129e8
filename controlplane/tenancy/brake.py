"""The brake on guessing passwords: failures per account and per address, counted by all web processes together.

Names and addresses are kept as keyed digests: the table tells nobody who tried.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.crypto import salted_hmac

from controlplane.tenancy.models import LoginFailures

WINDOW = timedelta(minutes=5)
PER_ACCOUNT = 10
PER_ADDRESS = 30

_SALT = "controlplane.tenancy.brake"


class Brake:
    """For one attempt to log in."""

    def __init__(self, account: str, address: str) -> None:
        self._account = _key("account", account.lower())
        self._limits = {self._account: PER_ACCOUNT, _key("address", address): PER_ADDRESS}

    def is_on(self) -> bool:
        running = LoginFailures.objects.filter(pk__in=self._limits, until__gt=timezone.now())
        return any(row.failures >= self._limits[row.key] for row in running)

    def failed(self) -> None:
        """Count it. What ran out long ago goes, so that inventing names does not fill the table."""
        now = timezone.now()
        LoginFailures.objects.filter(until__lte=now).delete()
        with transaction.atomic():
            for key in sorted(self._limits):
                LoginFailures.objects.bulk_create([LoginFailures(key=key, until=now + WINDOW)], ignore_conflicts=True)
                LoginFailures.objects.filter(pk=key).update(failures=F("failures") + 1)

    def succeeded(self) -> None:
        """The account is forgiven; the address, which may be trying others, is not."""
        LoginFailures.objects.filter(pk=self._account).delete()


def _key(kind: str, value: str) -> str:
    return salted_hmac(_SALT, f"{kind}:{value}", algorithm="sha256").hexdigest()
