"""What tests of real pods share with those of the link: a loop like a pod's, and an authority for certificates."""

from __future__ import annotations

from tests.link.conftest import authority, on_loop

__all__ = ["authority", "on_loop"]
