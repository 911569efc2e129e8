"""Chat completions as a `Dialect`."""

from __future__ import annotations

from dataplane.dialects.chat import facts, meter, words
from dataplane.dialects.dialect import DialectName
from dataplane.dialects.openai_refusals import openai_refusal


class OpenAIChat:
    """The `Dialect` of chat completions and embeddings."""

    name = DialectName.CHAT
    read_request = staticmethod(facts.read_request)
    rewrite = staticmethod(facts.rewrite)
    meter = staticmethod(meter.meter)
    refusal = staticmethod(openai_refusal)
    ending = staticmethod(words.ending)
