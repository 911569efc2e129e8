"""Cline: its OpenAI Compatible provider, in the editor or in the terminal."""

from __future__ import annotations

from controlplane.pages.recipes.recipe import GPT, CliTarget, Recipe, Setup, Snippet, quoted


def setup(target: CliTarget) -> Setup:
    model = target.model(GPT, "gpt-5.5")
    base_url = target.gateway_url + "/v1"
    command = (
        f"cline auth --provider openai-compatible --baseurl {quoted(base_url)} \\\n"
        f"  --apikey {quoted(target.token)} --modelid {quoted(model)}"
    )
    fields = f"API Provider: OpenAI Compatible\nBase URL: {base_url}\nAPI Key: {target.token}\nModel ID: {model}"
    return Setup(
        snippets=(
            Snippet("Terminal", command),
            Snippet("Editor: the gear in Cline's panel", fields),
        ),
        notes=("Cline does not name itself to the gateway: usage shows it as AI SDK, the library that it uses.",),
    )


RECIPE = Recipe("cline", "Cline", "3.0", setup)
