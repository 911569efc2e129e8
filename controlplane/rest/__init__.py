"""What every REST route has in common: who asks, cursor pages, problem details, answers that are given only once.

Nouns: `Resource` (rows of one model as a route), `Reference` (an id in a body, resolved within the caller's reach),
`problem` (what went wrong, what would be right, who can help), `IdempotentAnswer`. One rule: a body is read through a
serializer that lists its fields, and what it says is done by an app's action.
"""
