"""Wire formats as sans-io codecs: bytes in, facts out; refusals in the shape that a client understands.

Nouns: `Dialect`, `Operation`, `RequestFacts`, `Meter`, `SentSoFar`, `Client`. Each dialect has a folder of its own
(`facts` of a request, `meter` of an answer, `words` of ours); what they share stands beside these. One rule: a codec
never raises on what a peer sent in a response and never changes a byte that it was not asked to change.
"""
