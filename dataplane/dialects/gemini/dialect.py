"""The Gemini API as a `Dialect`."""

from __future__ import annotations

from dataplane.dialects.dialect import DialectName
from dataplane.dialects.gemini import facts, meter, words


class Gemini:
    """The `Dialect` of the Gemini API."""

    name = DialectName.GEMINI
    read_request = staticmethod(facts.read_request)
    rewrite = staticmethod(facts.rewrite)
    meter = staticmethod(meter.meter)
    refusal = staticmethod(words.refusal)
    ending = staticmethod(words.ending)
