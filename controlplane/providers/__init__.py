"""Where requests go and what they cost: providers with sealed credentials, prices.

Nouns: `Provider`, `PriceOverride`, `PriceList`; `vault` (credentials at rest), `ssrf` (which base URLs are allowed),
`probe` (the test button), `kinds` (what differs from kind to kind, one module each). One rule: a credential goes in and
never comes back, except through `credentials.credential_of` to the fleet's wire and to the probe.
"""
