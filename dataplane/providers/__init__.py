"""What differs from one kind of provider to the next: where it is called, how it is shown the credential, what may
pass.

Nouns: `UpstreamKind` (one module each, one line in `registry.py`), `UpstreamEndpoint` (a provider's address, checked
once), `UnsignedRequest` (what a kind that authorizes each request is asked with), `BodyDecoder` (makes a framing of the
kind's own into the dialect's bytes), `upstream_request` and `response_headers`. One rule: nothing that a client sends
selects where a request goes or reaches the provider as a credential, and nothing that a provider sends reaches the
client unless its name is on the list.
"""
