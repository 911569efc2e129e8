"""The contract between the planes in Python: rows and resources, holds, records, digests, in both directions.

The one package beside `core` that both planes import. The rule: whatever is written to or read from `protos` is
translated here, once.
"""
