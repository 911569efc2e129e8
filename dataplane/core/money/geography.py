"""Where a provider's address says that answers are made: regional endpoints have prices of their own."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

REGIONAL: Final = "regional"
# OpenAI's data residency guide: a two-letter region before api.openai.com.
_REGIONAL_HOSTS: Final = re.compile(r"https?://[a-z]{2}\.api\.openai\.com(?::\d+)?(?:/|\Z)", re.IGNORECASE)


@lru_cache(maxsize=1024)
def geography(base_url: str) -> str:
    """`regional`, or "" where the address says nothing."""
    return REGIONAL if _REGIONAL_HOSTS.match(base_url) else ""
