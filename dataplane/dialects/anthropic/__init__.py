"""Anthropic Messages: `/v1/messages` and its token count.

Nouns: `AnthropicMessages` (the `Dialect`), its facts, its meter (`AnthropicTally`), what a client has
(`AnthropicSent`), its words. One rule: a block that is half said is never closed by us.
"""
