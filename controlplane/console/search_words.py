"""Search words: a whole credential that somebody pasted is cut down to the part that may be shown.

An address is kept by browsers, proxies and access logs, so a credential must never stay in one. `console.js` cuts with
the same pattern before anything is sent; what comes here whole all the same is answered by the way to the cut address.
"""

from __future__ import annotations

import re
from typing import Final

from django.http import HttpRequest, HttpResponseRedirect

# A mark of ours, ten characters of public id, and more: the rest is secret, however much of it was pasted.
CREDENTIAL: Final = r"(lw_vk_live_|lw_vk_test_|lw_at_)([0-9A-HJKMNP-TV-Z]{10})[0-9A-Z]+"
_CREDENTIAL = re.compile(CREDENTIAL, re.IGNORECASE | re.ASCII)
_SHOWN = re.compile(r"(?:lw_vk_live_|lw_vk_test_|lw_at_)([0-9A-Z]*)(?:…|\.\.\.)?", re.IGNORECASE | re.ASCII)


def without_secrets(text: str) -> str:
    """The text with every whole credential cut down to its mark and public id."""
    return _CREDENTIAL.sub(r"\1\2", text)


def searchable(term: str) -> str:
    """A search term without what only pages add: `lw_vk_live_9ZB539HRQW…` → `9ZB539HRQW`."""
    return _SHOWN.sub(r"\1", without_secrets(term)).strip()


def cut_address(request: HttpRequest) -> HttpResponseRedirect | None:
    """The way to the same page by an address that keeps no credential, and no NUL, which no database takes."""
    cut = request.GET.copy()
    for name in list(cut):
        values = [_clean(value) for value in cut.pop(name)]
        cut.setlist(_clean(name), values)
    if cut == request.GET:
        return None
    answer = HttpResponseRedirect(f"{request.path}?{cut.urlencode()}")
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _clean(text: str) -> str:
    return without_secrets(text).replace("\0", "")
