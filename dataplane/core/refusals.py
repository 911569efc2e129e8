"""Words for what cannot be routed: what was asked, what would have worked, who can change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dataplane.core.errors import Code, Refusal
from dataplane.core.kinds import dialects_of
from dataplane.core.snapshot import OrganizationView, Provider, VirtualKey

# How many names a refusal lists: enough to choose from, short enough for a terminal.
LISTED: Final = 10

# Of what a client sent, so much is repeated to it.
QUOTED: Final = 100

_APIS: Final[Mapping[str, str]] = {
    "anthropic_messages": "the Anthropic Messages API",
    "openai_responses": "the OpenAI Responses API",
    "openai_chat": "the OpenAI Chat Completions API",
    "gemini": "the Gemini API",
}


def unroutable(
    view: OrganizationView,
    key: VirtualKey,
    dialect: str,
    model: str,
    usable: Sequence[Provider],
    served: bool,
    elsewhere: Provider | None,
    names: Sequence[str],
) -> Refusal:
    """Why nobody can answer. `served`: somebody serves the model; `elsewhere` would be allowed to, but speaks another
    dialect; `names` would have worked, the newest first. `dialect` is empty where any would have done.
    """
    if not usable:
        return no_provider(view, dialect)
    works = _nearest(model, names)
    facts: dict[str, object] = {"model": _clean(model), "models": works}
    instead = _listing("use", works, len(names))
    who = who_can_help(view)
    if elsewhere is not None:
        speaks = " or ".join(_api(name) for name in sorted(dialects_of(elsewhere.kind))) or "no API that this pod knows"
        return Refusal(
            Code.PROVIDER_NOT_REACHABLE,
            f"model '{_clean(model)}' is served by provider '{elsewhere.name}', which speaks {speaks} and not "
            f"{_api(dialect)}; {instead}{who} can add a provider that does",
            meta=facts | {"provider": elsewhere.name},
        )
    if served:
        return Refusal(
            Code.MODEL_NOT_ALLOWED,
            f"model '{_clean(model)}' is not allowed for this key; {instead}{who} can change the key's allowed models",
            meta=facts,
        )
    name = _named_but_closed(view, key, model)
    if name:
        mine = [provider.name for provider in usable][:LISTED]
        return Refusal(
            Code.PROVIDER_NOT_REACHABLE,
            f"provider '{name}' is not available to this key; {_listing('use', mine, len(usable))}"
            f"{who} can change the key's providers",
            meta=facts | {"provider": name, "providers": mine},
        )
    return Refusal(
        Code.MODEL_NOT_RECOGNIZED,
        f"no provider serves model '{_clean(model)}'; {instead}{who} can add an alias or a provider for it",
        meta=facts,
    )


def credential_refused(view: OrganizationView, provider: Provider, *, unpaid: bool) -> Refusal:
    """The provider will not serve the organization: its credential was refused, or the account behind it cannot pay."""
    why = ", since its account cannot pay" if unpaid else ""
    return Refusal(
        Code.PROVIDER_CREDENTIAL_REFUSED,
        f"the organization's key for '{_clean(provider.name)}' was refused{why}; ask {who_can_help(view)} to mend it "
        "(your own key is fine)",
        meta={"provider": provider.name, "reason": "payment" if unpaid else "credential"},
    )


def closed(view: OrganizationView, provider: Provider, *, on: bool) -> Refusal:
    """The provider was switched off, or (`on`) closed to the key, while the request was on its way there."""
    name = _clean(provider.name)
    words = f"provider '{name}' is not available to this key" if on else f"provider '{name}' was switched off"
    return Refusal(
        Code.PROVIDER_NOT_REACHABLE, f"{words}; {who_can_help(view)} can change that", meta={"provider": provider.name}
    )


def not_allowed(view: OrganizationView, model: str) -> Refusal:
    """The model was taken from the key while the request was on its way, or is named beside the one that answers."""
    words = f"model '{_clean(model)}' is not allowed for this key; {who_can_help(view)} can change its allowed models"
    return Refusal(Code.MODEL_NOT_ALLOWED, words, meta={"model": _clean(model)})


def no_provider(view: OrganizationView, dialect: str) -> Refusal:
    that = f" that speaks {_api(dialect)}" if dialect else ""
    return Refusal(Code.NO_PROVIDER_CONFIGURED, f"this key may use no provider{that}; {who_can_help(view)} can add one")


def _named_but_closed(view: OrganizationView, key: VirtualKey, model: str) -> str:
    """The provider that the request or its alias names, when the key may not use it."""
    alias = view.alias(key, model)
    if alias is not None and alias.provider_id:
        target = view.by_id.get(alias.provider_id)
        return target.name if target is not None else alias.provider_id
    name = (alias.model if alias is not None else model).partition("/")[0]
    named = view.by_name.get(name)
    return named.name if named is not None and key.providers_allowed and named.id not in key.providers_allowed else ""


def _nearest(model: str, names: Sequence[str]) -> list[str]:
    """Those with the longest common beginning first (a seller's name in front of a slash does not count); their order
    decides among equals."""
    wanted = model.rpartition("/")[2].lower()

    def common(name: str) -> int:
        for position, (ours, theirs) in enumerate(zip(name.lower(), wanted, strict=False)):
            if ours != theirs:
                return -position
        return -min(len(name), len(wanted))

    return sorted(names, key=common)[:LISTED]


def _listing(verb: str, names: Sequence[str], total: int) -> str:
    if not names:
        return ""
    more = f" (and {total - len(names)} more)" if total > len(names) else ""
    return f"{verb} {', '.join(names)}{more}; "


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:QUOTED])


def _api(dialect: str) -> str:
    return _APIS.get(dialect, dialect)


def who_can_help(view: OrganizationView) -> str:
    return _clean(view.contact) or "an admin of your organization"
