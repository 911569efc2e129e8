"""What may happen to a key in which state, and who may do it: the tables that actions and the admin's buttons read."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from controlplane.keys.models import KeyState
from controlplane.tenancy.permissions import Verb


class Step(StrEnum):
    """Something that is done to an existing key."""

    UPDATE = "update"
    EXTEND = "extend"
    ROTATE = "rotate"
    DISABLE = "disable"
    ENABLE = "enable"
    REVOKE = "revoke"


# What somebody must be allowed to do at the key who takes the step.
VERB_OF: Mapping[Step, Verb] = MappingProxyType(
    {
        Step.UPDATE: Verb.KEY_CHANGE,
        Step.EXTEND: Verb.KEY_CHANGE,
        Step.ROTATE: Verb.KEY_ROTATE,
        Step.DISABLE: Verb.KEY_DISABLE,
        Step.ENABLE: Verb.KEY_DISABLE,
        Step.REVOKE: Verb.KEY_REVOKE,
    }
)

# A step that leads nowhere new is allowed and does nothing: saying it twice is not an error.
TRANSITIONS: Mapping[tuple[KeyState, Step], KeyState] = MappingProxyType(
    {
        (KeyState.ACTIVE, Step.UPDATE): KeyState.ACTIVE,
        (KeyState.ACTIVE, Step.EXTEND): KeyState.ACTIVE,
        (KeyState.ACTIVE, Step.ROTATE): KeyState.ACTIVE,
        (KeyState.ACTIVE, Step.DISABLE): KeyState.DISABLED,
        (KeyState.ACTIVE, Step.ENABLE): KeyState.ACTIVE,
        (KeyState.ACTIVE, Step.REVOKE): KeyState.REVOKED,
        (KeyState.DISABLED, Step.UPDATE): KeyState.DISABLED,
        (KeyState.DISABLED, Step.EXTEND): KeyState.DISABLED,
        (KeyState.DISABLED, Step.ROTATE): KeyState.DISABLED,
        (KeyState.DISABLED, Step.DISABLE): KeyState.DISABLED,
        (KeyState.DISABLED, Step.ENABLE): KeyState.ACTIVE,
        (KeyState.DISABLED, Step.REVOKE): KeyState.REVOKED,
        (KeyState.REVOKED, Step.REVOKE): KeyState.REVOKED,
    }
)


class WrongState(Exception):
    """The key's state does not allow the step; the message says what would be right."""

    def __init__(self, state: KeyState, step: Step) -> None:
        super().__init__(f"a {state.value} key cannot be changed ({step.value}); mint a new one")
        self.state, self.step = state, step


def after(state: KeyState, step: Step) -> KeyState:
    """Raises WrongState."""
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise WrongState(state, step) from None


def possible(state: KeyState) -> frozenset[Step]:
    """What a key in this state can be put through, without the steps that would change nothing."""
    idle = {(KeyState.ACTIVE, Step.ENABLE), (KeyState.DISABLED, Step.DISABLE), (KeyState.REVOKED, Step.REVOKE)}
    return frozenset(step for (at, step) in TRANSITIONS if at == state and (at, step) not in idle)
