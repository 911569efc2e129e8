"""Google's Gemini API: generateContent, its stream (as events or as one JSON array), countTokens, embeddings, cached
contents.

Nouns: `Gemini` (the `Dialect`), its facts, its meter (`GeminiTally`), what a client has (`GeminiSent`), its words. One
rule: an error object stands bare in the stream, where Google's SDKs look for it.
"""
