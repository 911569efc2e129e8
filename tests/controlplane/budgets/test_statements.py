"""The books' own SQL: what is written is read again, whatever the texts are made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from controlplane.budgets import statements
from controlplane.budgets.models import Account, AskReply, Lease, LeaseSession
from controlplane.budgets.statements import Writes
from controlplane.budgets.values import ms
from dataplane.core.money.lease_rows import AccountRow, LeaseRow
from dataplane.core.money.messages import AccountRef

pytestmark = pytest.mark.django_db
ODD = ["plain", 'a "quoted" one', "back\\slash", "{a,b}", "NULL", "", " spaces ", "it's", "größe", "$1 %s ?1"]


def account(**fields: Any) -> Account:
    names = {"organization_id": "org_1", "budget_id": "bud_1", "window_key": "total", "limit_nano": 100}
    return Account.objects.create(**names | fields)


def session(id: str, **fields: Any) -> LeaseSession:
    return LeaseSession.objects.create(pk=id, pod_id="pod", **{"state": "open", "expires_ms": 5} | fields)


@pytest.mark.parametrize("odd", ODD)
def test_texts_come_back_as_they_were(odd: str) -> None:
    row = account(budget_id=odd, member_id=odd[::-1], window_key=odd)
    ref = AccountRef(odd, odd[::-1], odd)
    session(odd, identity=odd)
    assert statements.account_ids([ref, AccountRef("nobody", "", "total")]) == {ref: row.pk}
    reply = odd.encode() + b"\0\xff"
    Writes(timezone.now(), leases=[(row.pk, LeaseRow(odd, ref, 7))], replies=[(odd, 3, reply)]).run()
    found = statements.read([odd, "unknown"], [row.pk])
    assert [tuple(one) for one in found.sessions] == [(odd, 5, "open", odd, 0)]
    assert tuple(found.accounts[0][1:4]) == ref
    assert tuple(found.leases[0][:3]) == (odd, row.pk, 7)
    assert bytes(AskReply.objects.get(session_id=odd, ask_id=3).reply) == reply


def test_the_largest_amounts_fit_and_negative_ones_too() -> None:
    row, ref = account(limit_nano=2**62), AccountRef("bud_1", "", "total")
    session("s")
    lease = LeaseRow("s", ref, 2**61, -5, 2**60, -(2**60), 1, 2**45, 2**45)
    Writes(timezone.now(), [(row.pk, AccountRow(ref, 2**62, 9, True, 0, 5, 6, 2, 3))], [(row.pk, lease)]).run()
    found = statements.read(["s"], [row.pk])
    assert tuple(found.accounts[0][5:]) == (2**62, 5, 6, 2, 9, 3)
    assert tuple(found.leases[0][2:9]) == (2**61, -5, 2**60, -(2**60), 1, 2**45, 2**45)


def test_a_window_ends_in_the_millisecond_in_which_it_ends() -> None:
    ends = timezone.now().replace(microsecond=0) + timedelta(days=40)
    first, second = account(ends_at=ends), account(window_key="other")
    found = statements.read([], [second.pk, first.pk])
    assert [row[0] for row in found.accounts] == sorted((first.pk, second.pk))
    assert {row[0]: row[4] for row in found.accounts} == {first.pk: ms(ends), second.pk: None}


def test_leases_of_closed_sessions_are_left_out_unless_they_are_our_own() -> None:
    row = account()
    for id, state in (("a", "open"), ("b", "expired"), ("c", "closed"), ("d", "closed")):
        Lease.objects.create(session=session(id, state=state), account=row)
    assert sorted(lease[0] for lease in statements.read(["d"], [row.pk]).leases) == ["a", "b", "d"]


def test_what_breaks_a_limit_or_answers_twice_is_refused_as_django_would() -> None:
    row, ref = account(), AccountRef("bud_1", "", "total")
    for writes in (
        Writes(timezone.now(), [(row.pk, AccountRow(ref, 1, 0, True, 0, 0, 2))]),
        Writes(timezone.now(), replies=[("s", 1, b"x"), ("s", 1, b"y")]),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            writes.run()
    assert Account.objects.get().limit_nano == 100
    assert not AskReply.objects.exists()
