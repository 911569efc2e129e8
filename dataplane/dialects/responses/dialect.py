"""OpenAI's Responses API as a `Dialect`."""

from __future__ import annotations

from dataplane.dialects.dialect import DialectName
from dataplane.dialects.openai_refusals import openai_refusal
from dataplane.dialects.responses import facts, meter, words


class OpenAIResponses:
    """The `Dialect` of OpenAI's Responses API."""

    name = DialectName.RESPONSES
    read_request = staticmethod(facts.read_request)
    rewrite = staticmethod(facts.rewrite)
    meter = staticmethod(meter.meter)
    refusal = staticmethod(openai_refusal)
    ending = staticmethod(words.ending)
