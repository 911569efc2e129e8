"""The tenants and their rights: organization → team → project, principals, memberships, API tokens.

One rule: a caller sees rows through `queries.for_actor`; a row of somebody else's organization does not exist for
them.
"""
