"""OpenAI Chat Completions and embeddings, as OpenAI and everyone who imitates it speaks them.

Nouns: `OpenAIChat` (the `Dialect`), its facts, its meter (`ChatTally`), what a client has (`ChatSent`), its words. One
rule: a regular end runs the tool call that is under way, so such a stream of ours ends as an error.
"""
