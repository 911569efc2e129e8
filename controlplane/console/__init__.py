"""The admin: what admins see and press. The only importer of the admin theme.

Nouns: `site` (the admin site), `dashboard` (first-run checklist and figures), `admin/` (one module per app),
`recipes/` (what to paste into each CLI), `api_urls` (the REST routes). One rule: nothing here writes a row of the
configuration; every button calls an action of the app that owns it.
"""
