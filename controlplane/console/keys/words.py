"""A key's state in words and pills, and what a step does to it."""

from __future__ import annotations

from django.utils.safestring import SafeString

from controlplane.fleet.register.queries import DEFAULT_BOUND_S, serving
from controlplane.keys.models import KeyState, VirtualKey
from controlplane.keys.queries import is_expired
from controlplane.pages.cells import BAD, GOOD, PLAIN, WARN, pill

MOST_NAMED = 5  # pods in one sentence


def state_pill(key: VirtualKey) -> SafeString:
    match KeyState(key.state):
        case KeyState.REVOKED:
            return pill("Revoked", BAD)
        case KeyState.DISABLED:
            return pill("Disabled", PLAIN)
        case _:
            return pill("Expired", WARN) if is_expired(key) else pill("Active", GOOD)


def serving_words() -> tuple[bool, str]:
    """Tells whether a key that was made just now works, and at which pods."""
    pods = [str(pod) for pod in serving()]
    if not pods:
        return False, "No pod is ready now: it works as soon as one is, without anything being done here."
    more = f" and {len(pods) - MOST_NAMED} more" if len(pods) > MOST_NAMED else ""
    return True, f"Pods that serve it: {', '.join(pods[:MOST_NAMED])}{more}."


def staleness(key: VirtualKey) -> str:
    """Says what happens at pods that cannot be reached."""
    bound = key.organization.freshness_bound_s or DEFAULT_BOUND_S
    text = f"A pod that is cut off from here refuses every request {bound} s after it last heard from us"
    if bound > DEFAULT_BOUND_S:
        return (
            f"{text}: this organization chose a longer bound than the {DEFAULT_BOUND_S} s "
            "that keep revocation within a minute."
        )
    return f"{text}, so the key is dead everywhere within a minute whatever the network does."
