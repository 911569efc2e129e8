"""The ledger: what every attempt used and cost.

Nouns: `UsageRecord` (one per attempt, plus corrections), `DeadLetter` (a record that could not be applied),
`ReportSession` (how far one pod's spool has been received). One rule: the sum over all rows is right whatever was lost,
doubled or reordered on the way.
"""
