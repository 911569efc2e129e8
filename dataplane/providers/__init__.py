"""What differs from one kind of provider to the next: where it is called, how it is shown the credential, what may
pass.

Nouns: `Kind` (one module each, one line in `registry.py`), `Endpoint` (a provider's address, checked once),
`upstream_request` and `response_headers`. One rule: nothing that a client sends selects where a request goes or reaches
the provider as a credential, and nothing that a provider sends reaches the client unless its name is on the list.
"""
