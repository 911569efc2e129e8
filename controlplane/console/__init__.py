"""The admin: what admins see and press. The only importer of the admin theme.

Nouns, one folder each: `alerts`, `audit`, `budgets`, `dashboard`, `fleet`, `groups`, `keys`, `logins`, `providers`,
`tenancy`, `tokens`, `usage`. In a folder: `admin.py` lists, forms and buttons of its rows, `form.py` what is typed,
`pages.py` pages of its own, `words.py` what it says; the `admin.py` beside the folders registers them all.

What the folders share: `site` the admin site, `theme` its looks and sidebar, `base` pages over rows, `minting` of rows
whose secret is shown once, `testable` of rows that are tried against the outside, `questions` before something happens,
`choices` and `fields` of forms, `filters` of lists, `list_address` and `search_words` what an address may ask and
keep, `form_token` against a form that is sent twice, `palette` the search over everything, `access` who asks,
`addresses` of pages, `decorators` the theme's, with types.

One rule: nothing here writes a row of the configuration; every button calls an action of the app that owns it.
What pages for other readers would show as well lies in `controlplane.pages`.
"""
