"""What a request, an event, a stream and a key cost, as ratios of systems that take turns in one run on pinned cores.

Nouns: the *generator* (load and mock provider, in C where there is a compiler), a *system* (what is measured, one file
each in `systems/`), a *load* (what is asked of it, `loads.py`), a *slice* (one load on one system for some seconds), a
*round* (every system takes its turn). One rule: a figure from one run is compared only with figures of the same run.
"""
