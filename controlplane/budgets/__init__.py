"""Budgets: limits in money on a scope and a window, and the accounts that keep them across any number of pods.

Nouns: `Budget` and `Override` (what was decided), `Account` (one budget, one member, one window: what is settled and
what is held), `Lease` (the part of an account that one pod's session may spend without asking), `Charge` (what one
attempt took from one account), `Crossing` (a threshold reached, once per account and limit). One rule: money is booked
once, and what is booked is never changed but corrected by a further row.
"""
