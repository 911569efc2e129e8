"""The imperative shell of a pod: sockets in, sockets out.

Nouns: an exchange (the client's side of one request, first byte to last), an attempt (the provider's side: one try
against one of them, and what it owes), an inquiry (who asks, what, on which snapshot), the channel (an answer's bytes
to the client, wire to wire or through filters). Read `pipeline.py` first: it is the order in which everything happens.
The rule: decisions live in `dataplane.core` and `dataplane.dialects`; here is only what awaits, writes or counts.
"""
