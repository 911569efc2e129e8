"""One write, one record, one place: every change of the configuration is a change set.

Nouns: `change_set` (a transaction that holds the revision counter's lock), `Revision` (its number), `ConfigChange` (the
outbox: which pushed resource a revision touched), `AuditEvent` (who did what to which object), `ConfigModel` (the base
of every configuration row). One rule: a configuration row is written inside a change set, or `OutsideChangeSet` is
raised.
"""
