"""The library below every app's `api.py`: callers, cursor pages, problem details, answers that are given only once.

It knows no tenant: who asks (`DEFAULT_AUTHENTICATION_CLASSES`) and which rows exist for them (`REST_VISIBLE_ROWS`) is
said by whoever the settings name.

Nouns: `Resource` (rows of one model as a route), `Reference` (an id in a body, resolved within the caller's reach),
`problem` (what went wrong, what would be right, who can help), `IdempotentAnswer`. One rule: a body is read through a
serializer that lists its fields, and what it says is done by an app's action.
"""
