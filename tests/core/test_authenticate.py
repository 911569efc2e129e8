"""Who is asking, and what each asker is told."""

from __future__ import annotations

import contextlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core import keys
from dataplane.core.authenticate import UnknownKey, authenticate, invalid_key, refuse_unless_usable
from dataplane.core.errors import Code, Refusal
from dataplane.core.secret import Secret
from dataplane.core.snapshot import KeyState, ScopeKind, Snapshot
from tests.core import build

PEPPERS = {1: Secret(b"1" * 32), 2: Secret(b"2" * 32)}
NOW = 1_000_000


def minted(seed: bytes = b"0123456789abcdefg"):
    made = keys.mint("live", lambda count: seed[:count])
    return made.token.reveal(), made.public_id


TOKEN, PUBLIC = minted()
OLD_TOKEN, OLD_PUBLIC = minted(b"another-seed-0123")


def secret(token=TOKEN, public_id=PUBLIC, pepper=1, not_after_ms=0):
    return build.secret(public_id, keys.digest(PEPPERS[pepper], token), pepper=pepper, not_after_ms=not_after_ms)


def key(**fields):
    return build.key(**({"public_id": PUBLIC, "secrets": (secret(),)} | fields))


def wrong_secret(token: bytes) -> bytes:
    """The same public id, another secret, a right checksum."""
    body = token[:21] + (b"0" if token[21:22] != b"0" else b"1") + token[22:-6]
    return body + keys._checksum(body).encode()


def refused(snapshot, token, now_ms=NOW, peppers=PEPPERS) -> Refusal:
    with pytest.raises(Refusal) as caught:
        authenticate(snapshot, token, peppers, now_ms)
    return caught.value


def told(refusal: Refusal):
    return refusal.code, refusal.message, dict(refusal.meta), refusal.status, refusal.retry_after


@pytest.mark.parametrize("token", [TOKEN, TOKEN.decode()])
@pytest.mark.parametrize("pepper", [1, 2])
def test_the_holder_of_the_secret_is_the_key(token, pepper):
    held = key(secrets=(secret(pepper=pepper),))
    assert authenticate(build.snapshot(held), token, PEPPERS, NOW) is held


@pytest.mark.parametrize("token", [b"", ""])
def test_no_credential_is_told_how_to_send_one(token):
    refusal = refused(build.snapshot(key()), token)
    assert refusal.code is Code.MISSING_API_KEY
    assert refusal.message == "missing API key; supply Authorization: Bearer lw_vk_... or x-api-key"


@pytest.mark.parametrize("state", list(KeyState))
def test_malformed_and_wrong_keys_get_the_same_words_whatever_the_key(state):
    snapshot = build.snapshot(key(state=state, expires_at_ms=1))
    for token in (b"sk-ant-api03-nonsense", b"lw_vk_live_", TOKEN[:-1] + b"!", "lw_vk_live_é", wrong_secret(TOKEN)):
        assert told(refused(snapshot, token)) == told(invalid_key())


def test_an_unknown_key_is_worth_a_question_to_the_control_plane():
    with pytest.raises(UnknownKey) as caught:
        authenticate(Snapshot.EMPTY, TOKEN, PEPPERS, NOW)
    assert caught.value.public_id == PUBLIC


def test_a_key_whose_secrets_are_gone_is_not_worth_one():
    snapshot = build.snapshot(key(state=KeyState.REVOKED, secrets=()))
    assert told(refused(snapshot, TOKEN)) == told(invalid_key())


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"state": KeyState.REVOKED}, Code.VIRTUAL_KEY_REVOKED, "revoked"),
        ({"state": KeyState.DISABLED}, Code.VIRTUAL_KEY_DISABLED, "disabled"),
        ({"expires_at_ms": NOW}, Code.VIRTUAL_KEY_EXPIRED, "expired"),
        ({"secrets": (secret(not_after_ms=NOW),)}, Code.VIRTUAL_KEY_EXPIRED, "rotated"),
        ({"state": KeyState.REVOKED, "expires_at_ms": 1}, Code.VIRTUAL_KEY_REVOKED, "revoked"),
    ],
)
def test_the_holder_learns_what_stopped_the_key_and_whom_to_ask(fields, code, words):
    snapshot = build.snapshot(key(**fields), build.organization(contact="ada@example.com", revision=2))
    refusal = refused(snapshot, TOKEN)
    assert refusal.code is code
    assert words in refusal.message
    assert "ada@example.com" in refusal.message
    assert PUBLIC not in refusal.message
    assert refusal.status == 401


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (build.organization(active=False, revision=2), "organization"),
        (build.project(active=False, revision=2), "project"),
        (build.principal(active=False, revision=2), "person or service"),
    ],
)
def test_a_key_sleeps_while_what_it_belongs_to_is_not_active(row, words):
    refusal = refused(build.snapshot(key(), row), TOKEN)
    assert refusal.code is Code.VIRTUAL_KEY_DISABLED
    assert words in refusal.message
    assert "ask an admin of your organization" in refusal.message


def test_a_key_of_nobody_in_particular_works():
    held = key(project_id="", principal_id="")
    assert authenticate(build.snapshot(held), TOKEN, PEPPERS, NOW) is held


@given(st.integers(1, 2 * NOW))
def test_a_key_works_until_the_millisecond_of_its_expiry(expires_at_ms):
    snapshot = build.snapshot(key(expires_at_ms=expires_at_ms))
    if expires_at_ms > NOW:
        assert authenticate(snapshot, TOKEN, PEPPERS, NOW).id == "vk_1"
    else:
        assert refused(snapshot, TOKEN).code is Code.VIRTUAL_KEY_EXPIRED


def test_both_secrets_work_while_a_rotations_grace_runs_and_the_new_one_afterwards():
    rotated = key(secrets=(secret(), secret(OLD_TOKEN, OLD_PUBLIC, pepper=2, not_after_ms=NOW)))
    snapshot = build.snapshot(rotated)
    assert authenticate(snapshot, OLD_TOKEN, PEPPERS, NOW - 1) is rotated
    assert authenticate(snapshot, TOKEN, PEPPERS, NOW) is rotated
    assert refused(snapshot, OLD_TOKEN).code is Code.VIRTUAL_KEY_EXPIRED
    assert told(refused(snapshot, wrong_secret(OLD_TOKEN))) == told(invalid_key())


def test_a_pepper_that_has_not_arrived_is_our_fault_and_no_401():
    refusal = refused(build.snapshot(key(secrets=(secret(pepper=2),))), TOKEN, peppers={1: PEPPERS[1]})
    assert (refusal.code, refusal.status, refusal.retryable) == (Code.NO_CONFIGURATION, 503, True)


def test_malformed_unknown_and_wrong_keys_cost_the_same_work(monkeypatch):
    snapshot = build.snapshot(key())
    work: list[tuple[int, int]] = []
    compared: list[int] = []

    def counted(pepper, message, algorithm):
        work.append((len(pepper), len(message)))
        return hmac.new(pepper, message, algorithm).digest()

    def compare(ours, theirs):
        compared.append(len(ours))
        return ours == theirs

    monkeypatch.setattr(hmac, "digest", counted)
    monkeypatch.setattr(hmac, "compare_digest", compare)
    for token in (b"x" * 10_000, OLD_TOKEN, wrong_secret(TOKEN), TOKEN):
        with contextlib.suppress(Refusal, UnknownKey):
            authenticate(snapshot, token, PEPPERS, NOW)
    assert work == [(32, 53)] * 4
    assert compared == [32] * 4


def test_a_key_is_looked_at_again_before_a_further_attempt():
    held = key()
    snapshot = build.snapshot(held)
    refuse_unless_usable(snapshot, held, NOW)
    later = snapshot.apply(2, [key(state=KeyState.REVOKED, revision=2)])
    with pytest.raises(Refusal) as caught:
        refuse_unless_usable(later, held, NOW)
    assert caught.value.code is Code.VIRTUAL_KEY_REVOKED
    with pytest.raises(Refusal) as caught:
        refuse_unless_usable(Snapshot.EMPTY, held, NOW)
    assert told(caught.value) == told(invalid_key())


def test_a_key_that_a_rule_covers_which_is_not_understood_is_refused_with_words_and_may_try_another_pod():
    doubt = build.not_understood(covers=((ScopeKind.VIRTUAL_KEY, "vk_1"),), problem="scope 'galaxy' is unknown")
    refusal = refused(build.snapshot(key(), doubt), TOKEN)
    assert (refusal.code, refusal.status, refusal.retryable) == (Code.RULE_NOT_UNDERSTOOD, 503, True)
    assert 0 < refusal.retry_after <= 20
    assert refusal.message == (
        "this pod is older than a rule that covers your key (kind 9 pol_1: scope 'galaxy' is unknown) and does not "
        "understand it; try again, another pod may; the platform team can upgrade this one"
    )
    assert refusal.meta == {"kind": "kind 9", "id": "pol_1"}
    other = build.not_understood(covers=((ScopeKind.VIRTUAL_KEY, "vk_2"),))
    assert authenticate(build.snapshot(key(), other), TOKEN, PEPPERS, NOW).id == "vk_1"


def test_of_another_organizations_rule_nobody_learns_the_id():
    refusal = refused(build.snapshot(key(), build.not_understood(organization_id="org_gone")), TOKEN)
    assert refusal.code is Code.RULE_NOT_UNDERSTOOD
    assert "pol_1" not in refusal.message
    assert refusal.meta == {"kind": "kind 9"}


@pytest.mark.parametrize(
    ("state", "code"),
    [(KeyState.REVOKED, Code.VIRTUAL_KEY_REVOKED), (KeyState.DISABLED, Code.RULE_NOT_UNDERSTOOD)],
)
def test_a_revoked_key_stays_revoked_and_no_other_state_is_believed_where_it_may_have_been_misread(state, code):
    doubt = build.not_understood(covers=((ScopeKind.VIRTUAL_KEY, "vk_1"),))
    assert refused(build.snapshot(key(state=state), doubt), TOKEN).code is code


def test_who_does_not_have_the_secret_learns_nothing_of_what_is_not_understood():
    snapshot = build.snapshot(key(), build.not_understood(everybody=True))
    assert told(refused(snapshot, wrong_secret(TOKEN))) == told(invalid_key())


def test_a_key_under_a_pepper_that_the_pod_does_not_have_is_told_to_come_back():
    refusal = refused(build.snapshot(key()), TOKEN, peppers={2: PEPPERS[2]})
    assert (refusal.code, refusal.status, refusal.retryable) == (Code.NO_CONFIGURATION, 503, True)
