"""The parts of pages that need no admin theme: the console shows them to admins, other pages may show them too.

Nouns: `wording` figures as text, `figures` sums of the ledger, `charts` as inline SVG, `periods` to look back over,
`cells` pills and times, `convergence` how far a change has got, `recipes` what to paste into each CLI, `setups` the
recipes for one key, `once` the answer that shows a secret.

One rule: nothing here knows the admin theme, the console or an address in it. Forms, filters, links to rows and
templates stay in the console.
"""
