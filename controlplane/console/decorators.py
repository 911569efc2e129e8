"""The theme's decorators, with types: a column of a list, a button on an object's page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from unfold.decorators import action as theme_action
from unfold.decorators import display as theme_display

Method = TypeVar("Method", bound=Callable[..., Any])


def display(*, description: str, ordering: str | None = None) -> Callable[[Method], Method]:
    """A column: its title, and what it is sorted by."""
    return cast("Callable[[Method], Method]", theme_display(description=description, ordering=ordering))


def button(
    *, description: str, icon: str, url_path: str, permissions: Sequence[str] | None = None, danger: bool = False
) -> Callable[[Method], Method]:
    """A button that leads to a page of its own. `permissions`: `x` asks `has_x_permission`."""
    return cast(
        "Callable[[Method], Method]",
        theme_action(
            description=description,
            icon=icon,
            url_path=url_path,
            permissions=permissions,
            variant="danger" if danger else "default",
        ),
    )
