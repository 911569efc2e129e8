"""Who makes a change: a person, an API token, or the system itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


class ActorKind(StrEnum):
    USER = "user"
    API_TOKEN = "api_token"  # noqa: S105 - a word, not a credential
    SYSTEM = "system"


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
    def of_user(cls, user: AbstractBaseUser, address: str = "") -> Actor:
        operator = bool(user.is_active and getattr(user, "is_superuser", False))
        return cls(ActorKind.USER, str(user.pk), user.get_username(), address, operator)

    @classmethod
    def of_token(cls, token_id: str, label: str, address: str = "") -> Actor:
        return cls(ActorKind.API_TOKEN, token_id, label, address)

    @classmethod
    def system(cls, task: str) -> Actor:
        return cls(ActorKind.SYSTEM, task, task, operator=True)
