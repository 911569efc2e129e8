"""What a machine lacks: its tests are skipped loudly, and fail with `CI=true`."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def is_missing(words: str) -> NoReturn:
    """Ends the test that needs it. `words`: what is missing, and why."""
    if os.environ.get("CI") == "true":
        pytest.fail(words)
    pytest.skip(words)
