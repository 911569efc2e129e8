"""Aider: the OpenAI variables, and a weak model that the key may use."""

from __future__ import annotations

from controlplane.pages.recipes.recipe import GPT, CliTarget, Recipe, Setup, Snippet, exports, quoted


def setup(target: CliTarget) -> Setup:
    model = target.model(GPT, "gpt-5.5")
    variables = exports(OPENAI_API_BASE=target.gateway_url + "/v1", OPENAI_API_KEY=target.token)
    name = quoted(f"openai/{model}")
    return Setup(
        snippets=(Snippet("Shell", f"{variables}\naider --model {name} --weak-model {name}"),),
        notes=(
            "The weak model writes commit messages; by default it is another one, which this key would have to allow.",
            "Aider's own retries cannot be turned down; the gateway words its refusals so that it stops at the first.",
            "Aider does not name itself to the gateway: usage shows it as OpenAI Python, the library that it uses.",
        ),
    )


RECIPE = Recipe("aider", "Aider", "0.86", setup)
