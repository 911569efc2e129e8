"""A key's life, told by a machine that takes random steps and a model that says what must be true."""

from __future__ import annotations

from datetime import datetime, timedelta
from unittest import mock

import pytest
from django.utils import timezone
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from controlplane.changes.models import ConfigChange
from controlplane.changes.queries import head
from controlplane.environment import environment
from controlplane.keys import actions, queries
from controlplane.keys.lifecycle import TRANSITIONS, VERB_OF, Step, WrongState, after, possible
from controlplane.keys.models import KeyState, VirtualKey
from dataplane.core import keys as core
from tests.controlplane import factories

SYSTEM = factories.SYSTEM


class Life(RuleBasedStateMachine):
    """`works` maps each token handed out to the moment when it stops (None: with the key)."""

    tokens = Bundle("tokens")

    @initialize(target=tokens)
    def begin(self):
        self.now = timezone.now()
        self.state = KeyState.ACTIVE
        self.cut = False
        self.expires_at: datetime | None = None
        self.clock = mock.patch("django.utils.timezone.now", side_effect=lambda: self.now)
        self.clock.start()
        self.key, token = factories.key_and_token()
        self.works: dict[bytes, datetime | None] = {token.reveal(): None}
        return token

    def teardown(self):
        if hasattr(self, "clock"):
            self.clock.stop()

    def attempt(self, step, action):
        """Do it, or see it refused, as the table says. Whether it was done."""
        if (self.state, step) not in TRANSITIONS:
            with pytest.raises(WrongState, match="mint a new one"):
                action()
            self.key.refresh_from_db()
            return False
        self.before, self.revision = self.state, head().revision
        action()
        self.state = TRANSITIONS[self.before, step]
        return True

    def announced(self):
        rows = ConfigChange.objects.filter(revision__gt=self.revision, resource_id=self.key.pk, revoked=True)
        return [row.cut for row in rows]

    @rule(hours=st.integers(0, 100))
    def time_passes(self, hours):
        self.now += timedelta(hours=hours)

    @rule(target=tokens, hours=st.sampled_from([0, 1, 24, 72]))
    def rotate(self, hours):
        made = []
        if not self.attempt(
            Step.ROTATE, lambda: made.append(actions.rotate(self.key, by=SYSTEM, grace=timedelta(hours=hours)))
        ):
            return core.mint("live", lambda n: bytes(n)).token
        ends = self.now + timedelta(hours=hours)
        for token, until in self.works.items():
            self.works[token] = ends if until is None else min(until, ends)
        self.works[made[0].reveal()] = None
        assert self.announced() == []
        return made[0]

    @rule(reason=st.sampled_from(["", "lost laptop"]))
    def disable(self, reason):
        if self.attempt(Step.DISABLE, lambda: actions.disable(self.key, by=SYSTEM, reason=reason)):
            assert self.announced() == ([False] if self.before == KeyState.ACTIVE else [])

    @rule()
    def enable(self):
        if self.attempt(Step.ENABLE, lambda: actions.enable(self.key, by=SYSTEM)):
            assert self.key.disabled_reason == ""

    @rule(cut=st.booleans())
    def revoke(self, cut):
        if self.attempt(Step.REVOKE, lambda: actions.revoke(self.key, by=SYSTEM, cut=cut)):
            again = self.before == KeyState.REVOKED
            assert self.announced() == ([] if again and (self.cut or not cut) else [cut])
            self.cut = self.cut or cut
            assert VirtualKey.objects.get(pk=self.key.pk).cut is self.cut
            assert self.key.revoked_by == SYSTEM.label

    @rule(hours=st.sampled_from([None, 1, 50]))
    def extend(self, hours):
        expires_at = None if hours is None else self.now + timedelta(hours=hours)
        if self.attempt(Step.EXTEND, lambda: actions.extend(self.key, by=SYSTEM, expires_at=expires_at)):
            self.expires_at = expires_at

    @rule(name=st.sampled_from(["a", "b"]))
    def rename(self, name):
        if self.attempt(Step.UPDATE, lambda: actions.update(self.key, by=SYSTEM, name=name)):
            assert VirtualKey.objects.get(pk=self.key.pk).name == name

    @invariant()
    def exactly_the_tokens_that_should_work_do(self):
        if not hasattr(self, "key"):
            return
        row = VirtualKey.objects.get(pk=self.key.pk)
        assert row.state == self.state
        alive = self.state == KeyState.ACTIVE and (self.expires_at is None or self.expires_at > self.now)
        assert queries.works(row) == alive
        pepper = environment().pepper_keyring()
        secrets = list(factories.working_secrets(row))
        accepted = {
            token
            for token in self.works
            for secret in secrets
            if core.digest(pepper[secret.pepper_version], token) == bytes(secret.digest)
        }
        assert accepted == {token for token, until in self.works.items() if until is None or until > self.now}
        newest = [secret for secret in row.secrets.all() if secret.not_after is None]
        assert [secret.public_id for secret in newest] == [row.public_id]


class TestLife(TestCase):
    """The machine, with each example in a transaction of its own."""

    def test_a_key_lives_as_the_table_says(self):
        from django.db import transaction
        from hypothesis.stateful import run_state_machine_as_test

        class InTransaction(Life):
            def __init__(self):
                super().__init__()
                self.block = transaction.atomic()
                self.block.__enter__()

            def teardown(self):
                super().teardown()
                transaction.set_rollback(True)
                self.block.__exit__(None, None, None)

        run_state_machine_as_test(
            InTransaction, settings=settings(max_examples=25, stateful_step_count=15, deadline=None)
        )


def test_nothing_leads_out_of_revoked_and_buttons_follow_the_table():
    assert {step for state, step in TRANSITIONS if state == KeyState.REVOKED} == {Step.REVOKE}
    assert possible(KeyState.REVOKED) == frozenset()
    assert Step.ENABLE not in possible(KeyState.ACTIVE)
    assert Step.DISABLE not in possible(KeyState.DISABLED)
    with pytest.raises(WrongState):
        after(KeyState.REVOKED, Step.ENABLE)


def test_every_step_names_the_verb_that_it_takes():
    assert set(VERB_OF) == set(Step)
