"""Every trick, by its name. A new module of them is imported here, and enters its functions by itself."""

from __future__ import annotations

from tests.hostile.tricks import endings, floods, leaks, usage
from tests.hostile.turns import BEFORE_THE_BODY, TRICKS

__all__ = ["BEFORE_THE_BODY", "TRICKS", "endings", "floods", "leaks", "usage"]
