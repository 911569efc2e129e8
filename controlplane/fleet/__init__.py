"""The control plane's end of the wire to the pods.

Nouns: `Catalogue` (what pods are to hold, compiled), `Replica` (one process's view of the newest revision),
`WatchSession` (one pod's Watch), `HoldCalls` (the pods' money), `Booking` (what becomes of their usage records), `Pod`
and `PodAck` (what pods told us). One rule: a replica keeps no truth that is not in the database; any replica may die,
and a pod may move to any other.
"""
