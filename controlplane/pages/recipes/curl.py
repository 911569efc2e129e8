"""curl: one request per API, to see that a key works before a CLI is set up."""

from __future__ import annotations

import json

from controlplane.pages.recipes.recipe import CLAUDE, GEMINI, GPT, CliTarget, Recipe, Setup, Snippet, quoted

HELLO = "Say hello in five words."


def request(url: str, token: str, body: dict[str, object], *headers: str) -> str:
    lines = [f"curl {quoted(url)}", f"-H {quoted('Authorization: Bearer ' + token)}"]
    lines += [f"-H {quoted(header)}" for header in ("Content-Type: application/json", *headers)]
    lines.append(f"-d {quoted(json.dumps(body))}")
    return " \\\n  ".join(lines)


def setup(target: CliTarget) -> Setup:
    message = [{"role": "user", "content": HELLO}]
    url, token = target.gateway_url, target.token
    gemini = target.model(GEMINI, "gemini-3-flash-preview")
    return Setup(
        snippets=(
            Snippet(
                "What may this key use?",
                f"curl {quoted(url + '/v1/models')} -H {quoted('Authorization: Bearer ' + token)}",
            ),
            Snippet(
                "Anthropic Messages",
                request(
                    url + "/v1/messages",
                    token,
                    {"model": target.model(CLAUDE, "claude-sonnet-5-5"), "max_tokens": 100, "messages": message},
                    "anthropic-version: 2023-06-01",
                ),
            ),
            Snippet(
                "OpenAI Responses",
                request(url + "/v1/responses", token, {"model": target.model(GPT, "gpt-5.5"), "input": HELLO}),
            ),
            Snippet(
                "OpenAI Chat Completions",
                request(
                    url + "/v1/chat/completions",
                    token,
                    {"model": target.model(GPT, "gpt-5.5"), "messages": message},
                ),
            ),
            Snippet(
                "Gemini",
                request(
                    f"{url}/v1beta/models/{gemini}:generateContent",
                    token,
                    {"contents": [{"role": "user", "parts": [{"text": HELLO}]}]},
                ),
            ),
        ),
        notes=("The key is taken from Authorization, x-api-key, api-key or x-goog-api-key.",),
    )


RECIPE = Recipe("curl", "curl", "any", setup)
