"""The imperative shell of a pod: sockets in, sockets out.

Nouns: an exchange (one client request, first byte to settled), an attempt (one try against one provider), the relay
(bytes from the provider to the client). Read `pipeline.py` first: it is the order in which everything happens.
The rule: decisions live in `dataplane.core` and `dataplane.dialects`; here is only what awaits, writes or counts.
"""
