"""The brake on guessing passwords and API tokens: failures per account and per address, counted by all web processes
together.

Whoever guesses at an account brakes it for everybody but its owner: from a browser or a network from which its password
was right before, only failures there count. Names and addresses are kept as keyed digests: the tables tell nobody who
tried, and nobody who was right.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cached_property

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.crypto import salted_hmac

from controlplane.tenancy.models import LoginFailures, LoginPlace

WINDOW = timedelta(minutes=5)
PER_ACCOUNT = 10
PER_ADDRESS = 30
TOKENS_PER_ADDRESS = 30
PLACE_KEPT = timedelta(days=90)

_SALT = "controlplane.tenancy.brake"


class Brake:
    """The brake on one attempt to log in. `browser`: what it was given when a password was right in it; else a new
    one."""

    def __init__(self, account: str, address: str, browser: str) -> None:
        account, network = account.lower(), _network(address)
        self._account, self._address = _account(account), _key("address", network)
        self._at_address = _key("account at address", f"{network} {account}")
        self._in_browser = _key("account in browser", f"{browser} {account}")

    def is_on(self) -> bool:
        return _is_on(self._limits)

    def failed(self) -> None:
        _count(self._limits)

    def succeeded(self) -> None:
        """What counted here is forgiven but for the address, which may be trying others; the place is remembered."""
        LoginFailures.objects.filter(pk__in=set(self._limits) - {self._address}).delete()
        now = timezone.now()
        LoginPlace.objects.filter(until__lte=now).delete()
        until = now + PLACE_KEPT
        places = [LoginPlace(key=key, account=self._account, until=until) for key in sorted(self._places)]
        LoginPlace.objects.bulk_create(
            places, update_conflicts=True, unique_fields=["key"], update_fields=["account", "until"]
        )

    @cached_property
    def _limits(self) -> Mapping[str, int]:
        """What counts for this attempt. Asked for in the same way whether there is such an account or not."""
        kept = LoginPlace.objects.filter(pk__in=self._places, until__gt=timezone.now())
        right_before = set(kept.values_list("pk", flat=True))
        if self._in_browser in right_before:
            return {self._in_browser: PER_ACCOUNT}
        owner = self._at_address if self._at_address in right_before else self._account
        return {owner: PER_ACCOUNT, self._address: PER_ADDRESS}

    @property
    def _places(self) -> tuple[str, str]:
        return self._in_browser, self._at_address


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


def new_browser() -> str:
    """A name for a browser that nobody can guess."""
    return secrets.token_hex(16)


def forget(account: str) -> None:
    """The account's password is another one: where the old one was right counts no more, nor who has guessed at it."""
    key = _account(account.lower())
    LoginPlace.objects.filter(account=key).delete()
    LoginFailures.objects.filter(pk=key).delete()


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


def _account(name: str) -> str:
    return _key("account", name)


def _key(kind: str, value: str) -> str:
    return salted_hmac(_SALT, f"{kind}:{value}", algorithm="sha256").hexdigest()
