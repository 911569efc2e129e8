"""Cursor: three fields in its settings; the calls come from Cursor's servers."""

from __future__ import annotations

from controlplane.pages.recipes.recipe import CliTarget, Recipe, Setup, Snippet


def setup(target: CliTarget) -> Setup:
    return Setup(
        snippets=(
            Snippet("Settings → Models → API Keys → Override OpenAI Base URL", target.gateway_url + "/cursor/v1"),
            Snippet("Settings → Models → API Keys → OpenAI API Key, then Verify", target.token),
        ),
        notes=(
            "Ask mode and plain chat work. Agent mode is not served yet: Cursor sends it in another API's form, which "
            "the gateway does not translate, and is told so.",
            "Cursor calls the gateway from its own servers, so the address has to be reachable from the internet over "
            "https; a private one is refused.",
            "No slash at the end of the base URL. Tab completion stays with Cursor's own backend.",
            "A model name that contains “claude” makes Cursor send another tool format: give such a model an alias.",
        ),
    )


RECIPE = Recipe("cursor", "Cursor", "request shapes as reported publicly", setup)
