"""What a pod tells about itself: log lines, metrics, spans.

Nouns: an event (one log line), a metric (one line of `metrics.CATALOGUE`), a span. The rule: an exchange only hands its
records over; everything that costs more than an append happens in batches, is bounded, and never holds up a request.
"""
