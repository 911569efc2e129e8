"""A stand-in for every provider: four dialects, scripted per request, remembering what it was asked and what it sent.

Nouns: a `Script` says how one request is answered, a `Reply` is what the brain wants to say, a dialect renders it into
`Rendered` events, `play` puts them on the wire, a `Recorded` keeps the provider's own truth for a test to compare with.

The one rule: nothing here imports the product, so that a defect of the product cannot hide itself.
"""

from tests.simprovider.client import SimClient
from tests.simprovider.record import Recorded
from tests.simprovider.script import Script
from tests.simprovider.serve import SimInThread, SimServer, running
from tests.simprovider.simulator import Simulator

__all__ = ["Recorded", "Script", "SimClient", "SimInThread", "SimServer", "Simulator", "running"]
