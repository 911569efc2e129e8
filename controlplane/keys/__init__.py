"""Virtual keys: minted, rotated, disabled, enabled, revoked; shown once and kept as digests.

Nouns: `VirtualKey` (what is allowed, to whom it is booked), `KeySecret` (one secret of it; two while a rotation's grace
runs), `ModelAlias` (a client's model name → a provider's). One rule: the plaintext exists in the answer that hands it
out and nowhere else.
"""
