"""Qwen Code: three variables; fewer retries in its settings."""

from __future__ import annotations

from controlplane.pages.recipes.recipe import GPT, CliTarget, Recipe, Setup, Snippet, exports

SETTINGS = """\
{
  "security": {"auth": {"selectedType": "openai"}},
  "model": {"generationConfig": {"maxRetries": 1}}
}"""


def setup(target: CliTarget) -> Setup:
    variables = exports(
        OPENAI_BASE_URL=target.gateway_url + "/v1",
        OPENAI_API_KEY=target.token,
        OPENAI_MODEL=target.model(GPT, "gpt-5.5"),
    )
    return Setup(snippets=(Snippet("Shell, then run qwen", variables), Snippet("~/.qwen/settings.json", SETTINGS)))


RECIPE = Recipe("qwen-code", "Qwen Code", "0.24", setup)
