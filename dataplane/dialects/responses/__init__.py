"""OpenAI Responses: create, compact, input token count, stored responses.

Nouns: `OpenAIResponses` (the `Dialect`), its facts, its meter (`ResponsesTally`), what a client has (`ResponsesSent`),
its words. One rule: the last event (`response.completed`, `.incomplete`, `.failed`) carries the whole response with its
usage, and Codex hangs up as soon as it has read it.
"""
