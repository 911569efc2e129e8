"""The maker of a change: a person, an API token, or the system itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class ActorKind(StrEnum):
    USER = "user"
    API_TOKEN = "api_token"  # noqa: S105 - a word, not a credential
    SYSTEM = "system"


class Login(Protocol):
    """A user of Django's."""

    is_active: Any

    @property
    def pk(self) -> Any: ...

    def get_username(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Actor:
    """`id` is the user's primary key, the token's id or the task's name; `label` is what the audit shows.

    `operator`: may do everything in every organization (a superuser, or the system).
    """

    kind: ActorKind
    id: str
    label: str
    address: str = ""
    operator: bool = False

    @classmethod
    def of_user(cls, user: Login, address: str = "") -> Actor:
        operator = bool(user.is_active and getattr(user, "is_superuser", False))
        return cls(ActorKind.USER, str(user.pk), user.get_username(), address, operator)

    @classmethod
    def of_token(cls, token_id: str, label: str, address: str = "") -> Actor:
        return cls(ActorKind.API_TOKEN, token_id, label, address)

    @classmethod
    def system(cls, task: str) -> Actor:
        return cls(ActorKind.SYSTEM, task, task, operator=True)
