"""The papers held against the code: whatever README, ARCHITECTURE, CONTRIBUTING, SECURITY, CHANGELOG, the door plates
and the generated tables name must exist, and be where they say.

Its nouns: a `Paper` is read into spans (what stands in backticks), links, headings and tables; the `House` is what is
really there; the judge holds one against the other and returns complaints, sentences that say what would be right.
One rule: a word in backticks is something that a reader can find, or it is declared in `foreign.py` with a reason.
"""
