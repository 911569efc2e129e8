"""Gemini CLI: two variables; fewer attempts than its default of ten."""

from __future__ import annotations

from controlplane.pages.recipes.recipe import GEMINI, CliTarget, Recipe, Setup, Snippet, exports, quoted


def setup(target: CliTarget) -> Setup:
    variables = exports(GOOGLE_GEMINI_BASE_URL=target.gateway_url, GEMINI_API_KEY=target.token)
    model = quoted(target.model(GEMINI, "gemini-3-flash-preview"))
    return Setup(
        snippets=(
            Snippet("Shell", f"{variables}\ngemini -m {model}"),
            Snippet(
                "~/.gemini/settings.json",
                '{\n  "security": {"auth": {"selectedType": "gemini-api-key"}},\n  "general": {"maxAttempts": 3}\n}',
            ),
        ),
        notes=(
            "The base URL has no version at its end. An address that is not this machine has to be https.",
            "Without -m the CLI first asks gemini-3.5-flash-lite which model to take, and web search uses "
            "gemini-3-flash-preview: a key that is limited to some models has to allow these too.",
        ),
    )


RECIPE = Recipe("gemini-cli", "Gemini CLI", "0.61", setup)
