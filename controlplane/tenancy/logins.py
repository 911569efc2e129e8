"""Verbs on logins, the accounts that people enter the console with: permission, mutation and audit in one transaction.

Logins are Django's own users and belong to no organization: operators make and change them, everybody may set their own
password. Events go to the installation's chain; no password and no digest of one is in them.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY, password_validation
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError

from controlplane.changes.actor import Actor, ActorKind
from controlplane.changes.audit import Draft
from controlplane.changes.change_set import ChangeSet, change_set
from controlplane.changes.row import AuditTarget
from controlplane.tenancy import brake
from controlplane.tenancy.permissions import Verb, require_operator
from dataplane.core.secret import Secret

CHANGEABLE = frozenset({"username", "email", "first_name", "last_name", "is_superuser"})
_AUDITED = (*sorted(CHANGEABLE), "is_active")


def create_login(*, by: Actor, username: str, password: Secret | None, email: str = "", operator: bool = False) -> User:
    """Password None: nobody can log in with it yet. `operator`: may do everything in every organization."""
    require_operator(by, Verb.LOGIN_CHANGE)
    login = User(username=username, email=email, is_superuser=operator)
    with change_set(by) as change:
        _put_password(login, password)
        login.full_clean()
        login.save(force_insert=True)
        _say(change, "login.created", login, before={}, after=_facts(login))
    return login


def update_login(login: User, *, by: Actor, **fields: Any) -> User:
    """Fields: see CHANGEABLE."""
    unknown = sorted(set(fields) - CHANGEABLE)
    if unknown:
        raise ValidationError({name: f"cannot be set; fields are {', '.join(sorted(CHANGEABLE))}" for name in unknown})
    before = login.get_username()
    with change_set(by):
        _changed(login, by, "login.updated", fields)
        if login.get_username() != before:
            brake.forget(before)
    return login


def deactivate_login(login: User, *, by: Actor) -> User:
    """It cannot log in any more, and its sessions end now: activating it again does not bring them back."""
    with change_set(by):
        _changed(login, by, "login.deactivated", {"is_active": False})
        _end_sessions(login)
        brake.forget(login.get_username())
    return login


def activate_login(login: User, *, by: Actor) -> User:
    return _changed(login, by, "login.activated", {"is_active": True})


def set_password(login: User, *, by: Actor, password: Secret | None) -> User:
    """None: none works. Every session that was opened with the old one ends, by the hash that sessions carry, and so
    does the brake on guessing the old one."""
    if (by.kind, by.id) != (ActorKind.USER, str(login.pk)):
        require_operator(by, Verb.LOGIN_CHANGE)
    with change_set(by) as change:
        login.refresh_from_db()
        _put_password(login, password)
        if password is None:
            _keep_an_operator(login)
        login.save(update_fields=["password"])
        brake.forget(login.get_username())
        _say(change, "login.password_set", login, usable=password is not None)
    return login


def _changed(login: User, by: Actor, action: str, fields: dict[str, Any]) -> User:
    require_operator(by, Verb.LOGIN_CHANGE)
    with change_set(by) as change:
        login.refresh_from_db()
        before = _facts(login)
        for name, value in fields.items():
            setattr(login, name, value)
        if not (login.is_active and login.is_superuser):
            _keep_an_operator(login)
        login.full_clean()
        login.save(update_fields=list(fields))
        differing = {name: value for name, value in _facts(login).items() if value != before[name]}
        if differing:
            _say(change, action, login, before={name: before[name] for name in differing}, after=differing)
    return login


def _put_password(login: User, password: Secret | None) -> None:
    if password is None:
        login.set_unusable_password()
        return
    text = password.reveal().decode()
    try:
        password_validation.validate_password(text, login)
    except ValidationError as refused:
        raise ValidationError({"password": refused.messages}) from None
    login.set_password(text)


def _keep_an_operator(login: User) -> None:
    """The last one who can change logins stays one."""
    operators = User.objects.filter(is_superuser=True, is_active=True)
    if operators.filter(pk=login.pk).exists() and not operators.exclude(pk=login.pk).exists():
        raise ValidationError("This is the last operator who can log in; make somebody else one first.")


def _end_sessions(login: User) -> None:
    """A session names its login only inside its signed content, so all are looked at: there are as many as people."""
    wanted = str(login.pk)
    for session in Session.objects.iterator(chunk_size=500):
        if session.get_decoded().get(SESSION_KEY) == wanted:
            session.delete()


def _facts(login: User) -> dict[str, object]:
    return {name: getattr(login, name) for name in _AUDITED}


def _say(
    change: ChangeSet,
    action: str,
    login: User,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
    **details: object,
) -> None:
    target = AuditTarget("login", str(login.pk), login.get_username())
    change.note(Draft(action, target, "", before or {}, after or {}, details))
