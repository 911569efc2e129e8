"""The contract between the two planes: `fleet.proto` and the stubs generated from it.

One rule: a field number is never reused and never changes its meaning; both planes ignore what they do not know.
"""
