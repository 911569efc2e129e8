"""The brake on guessing passwords and API tokens: failures per account and per address, counted by all web processes
together.

Names and addresses are kept as keyed digests: the table tells nobody who tried.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.crypto import salted_hmac

from controlplane.tenancy.models import LoginFailures

WINDOW = timedelta(minutes=5)
PER_ACCOUNT = 10
PER_ADDRESS = 30
TOKENS_PER_ADDRESS = 30

_SALT = "controlplane.tenancy.brake"


class Brake:
    """The brake on one attempt to log in."""

    def __init__(self, account: str, address: str) -> None:
        self._account = _key("account", account.lower())
        self._limits = {self._account: PER_ACCOUNT, _key("address", _network(address)): PER_ADDRESS}

    def is_on(self) -> bool:
        return _is_on(self._limits)

    def failed(self) -> None:
        _count(self._limits)

    def succeeded(self) -> None:
        """The account is forgiven; the address, which may be trying others, is not."""
        LoginFailures.objects.filter(pk=self._account).delete()


class TokenBrake:
    """The brake on one wrong API token.

    It is asked only after the token was wrong: who has a good one is not slowed by others at the same address.
    """

    def __init__(self, address: str) -> None:
        self._limits = {_key("token address", _network(address)): TOKENS_PER_ADDRESS}

    def is_on(self) -> bool:
        """Once it is on nothing more is counted, so that a flood writes nothing."""
        return _is_on(self._limits)

    def failed(self) -> None:
        _count(self._limits)


def _is_on(limits: Mapping[str, int]) -> bool:
    running = LoginFailures.objects.filter(pk__in=limits, until__gt=timezone.now())
    return any(row.failures >= limits[row.key] for row in running)


def _count(keys: Iterable[str]) -> None:
    """Counts one failure, and deletes what ran out, so that inventing names does not fill the table."""
    now = timezone.now()
    LoginFailures.objects.filter(until__lte=now).delete()
    with transaction.atomic():
        for key in sorted(keys):
            LoginFailures.objects.bulk_create([LoginFailures(key=key, until=now + WINDOW)], ignore_conflicts=True)
            LoginFailures.objects.filter(pk=key).update(failures=F("failures") + 1)


def _network(address: str) -> str:
    """Returns the /64 of an IPv6 address, since whoever has one address has 2⁶⁴ of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def _key(kind: str, value: str) -> str:
    return salted_hmac(_SALT, f"{kind}:{value}", algorithm="sha256").hexdigest()
