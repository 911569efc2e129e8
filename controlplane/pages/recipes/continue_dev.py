"""Continue: one model block in config.yaml, the key in its own file of secrets."""

from __future__ import annotations

from controlplane.pages.recipes.recipe import GPT, CliTarget, Recipe, Setup, Snippet, string


def setup(target: CliTarget) -> Setup:
    model = string(target.model(GPT, "gpt-5.5"))
    config = f"""\
name: AI Gateway
version: 1.0.0
schema: v1
models:
  - name: {model}
    provider: openai
    model: {model}
    apiBase: {string(target.gateway_url + "/v1")}
    apiKey: ${{{{ secrets.AIGATEWAY_API_KEY }}}}
    roles: [chat, edit, apply]"""
    return Setup(
        snippets=(
            Snippet("~/.continue/config.yaml", config),
            Snippet("~/.continue/.env", f"AIGATEWAY_API_KEY={target.token}"),
        ),
        notes=("Continue sends gpt-5 models to /v1/responses and everything else to /v1/chat/completions.",),
    )


RECIPE = Recipe("continue", "Continue", "1.5", setup)
