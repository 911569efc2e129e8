"""The contract between the planes in Python, each message translated once, in both directions.

Modules: `rows` (rows of the core ⇄ resources), `holds` (the Hold call), `records` (usage records), `updates` (resources
with the bytes that they came in), `digest`, and `protobuf` (what is written and read by hand). The one package beside
`core` that both planes import. The rule: it knows the core's nouns and protobuf's bytes, no I/O and no clock.
"""
