"""Wire formats as sans-io codecs: bytes in, facts out; refusals in the shape that a client understands.

Nouns: `Dialect`, `Operation`, `RequestFacts`, `Meter`, `Client`. One rule: a codec never raises on what a peer sent
in a response and never changes a byte that it was not asked to change.
"""
