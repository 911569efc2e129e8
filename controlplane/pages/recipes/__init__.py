"""Recipes: for each coding CLI, what to paste so that it works through the gateway.

One module per CLI, one line in `RECIPES`. The retry settings in them make a refusal visible at once instead of after
minutes of silent attempts; the figures behind them were measured with the published clients.
"""

from __future__ import annotations

from controlplane.pages.recipes import (
    aider,
    claude_code,
    cline,
    codex,
    continue_dev,
    curl,
    cursor,
    gemini_cli,
    opencode,
    qwen_code,
)
from controlplane.pages.recipes.recipe import PLACEHOLDER, CliTarget, Recipe, Setup, Snippet

RECIPES: tuple[Recipe, ...] = (
    claude_code.RECIPE,
    codex.RECIPE,
    gemini_cli.RECIPE,
    opencode.RECIPE,
    cursor.RECIPE,
    aider.RECIPE,
    qwen_code.RECIPE,
    cline.RECIPE,
    continue_dev.RECIPE,
    curl.RECIPE,
)

__all__ = ["PLACEHOLDER", "RECIPES", "CliTarget", "Recipe", "Setup", "Snippet"]
