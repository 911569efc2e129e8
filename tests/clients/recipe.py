"""Follows the product's own recipes to the letter: what the setup page says is what the tests run."""

from __future__ import annotations

import re
import shlex

from controlplane.pages.recipes import RECIPES, CliTarget
from tests.clients.cli import HandOut

FILE = re.compile(r"~/([^\s,:]+)")


def follow(slug: str, base_url: str, key: str, model: str) -> HandOut:
    """`export` lines become variables, snippets for a file under the home become that file, other lines commands."""
    [recipe] = [recipe for recipe in RECIPES if recipe.slug == slug]
    variables: dict[str, str] = {}
    files: dict[str, str] = {}
    commands: list[list[str]] = []
    for snippet in recipe.setup(CliTarget(base_url, key, (model,))).snippets:
        if found := FILE.search(snippet.where):
            files[found[1]] = snippet.text
            continue
        for line in snippet.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            if words[:1] == ["export"]:
                name, _, value = words[1].partition("=")
                variables[name] = value
            elif words:
                commands.append(words)
    return HandOut(variables, files, commands)
