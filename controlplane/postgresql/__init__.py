"""PostgreSQL as every process uses it: no wait for it is without an end, whatever the network does.

Nouns: `Waits` (how long a process waits: for a connection, a lock, an answer), `Patience` (what one piece of work has
left of that), `BoundedConnection` (gives up a connection on which no answer comes), `BoundedPool` (then drops all its
connections, since what swallowed one has mostly swallowed the others, and says why it has none). One rule: an answer
that does not come is a lost connection, and a new one is made at once.
"""
