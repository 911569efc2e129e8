"""The whole product on one machine with embedded defaults: `make demo`.

Nouns: `Child` (one supervised process), `Layout` (ports and paths), `demo.json` (what was started).
One rule: whatever the demo starts, it ends.
"""
