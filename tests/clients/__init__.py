"""Published coding CLIs, installed at pinned versions and run headless against a gateway, or straight at the simulator.

Nouns: a `Cli` is one product (a module each), a `Case` is one version, model and dialect of it, a `Finished` one run.

The one rule: a CLI gets only what an engineer gets, its `hand_out`, in an empty home.
"""
