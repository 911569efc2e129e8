"""Peers that lie, flood, stall and die on purpose: a hostile provider, a hostile pod.

Each trick has a name and is chosen by the test that uses it; what reaches the peer is logged, as the oracle.
"""
