"""Edits as text, for Aider: it offers no tools and applies the blocks that it finds in the answer."""

from __future__ import annotations


def edit(system: str, wish: str) -> str:
    """Text that creates a file: SEARCH/REPLACE, unified diff or whole file, whichever the system prompt teaches."""
    path, _, content = wish.partition(" ")
    if "SEARCH/REPLACE" in system:
        block = f"{path}\n```\n<<<<<<< SEARCH\n=======\n{content}\n>>>>>>> REPLACE\n```"
    elif "diff -U0" in system or "unified diff" in system:
        block = f"```diff\n--- /dev/null\n+++ {path}\n@@ ... @@\n+{content}\n```"
    else:
        block = f"{path}\n```\n{content}\n```"
    return f"Done: the built-in simulator adds the file.\n\n{block}\n"
