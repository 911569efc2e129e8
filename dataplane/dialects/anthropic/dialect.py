"""Anthropic Messages as a `Dialect`."""

from __future__ import annotations

from dataplane.dialects.anthropic import facts, meter, words
from dataplane.dialects.dialect import DialectName


class AnthropicMessages:
    """The `Dialect` of Anthropic's Messages API."""

    name = DialectName.ANTHROPIC
    read_request = staticmethod(facts.read_request)
    rewrite = staticmethod(facts.rewrite)
    meter = staticmethod(meter.meter)
    refusal = staticmethod(words.refusal)
    ending = staticmethod(words.ending)
