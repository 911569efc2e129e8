"""The web process around the admin and the REST API: what every answer has in common, whichever of them gives it.

Nouns: `Answers` (the outermost middleware: request id, metrics, failures in words), `Deadline` (a request's time with
the database), `BodyLimit`, `TrustedProxies` (who asks, behind proxies), the probes, the page of metrics.
One rule: whatever happens, a person reads a page in words and a program reads a problem, soon enough that neither has
given up.
"""
