"""Pure decisions and the nouns they are about: standard library only, no clock, no environment, no logging, no I/O.

Nouns: `Snapshot` and the kinds of rows it holds (`pushed`), `VirtualKey`, `Candidate`, `Usage`, `PriceList`,
`LeaseBook`, `Lessor`, `Secret`, `Refusal`. Verbs: `mint`, `authenticate`, `resolve`, `accounts_for`, `cost`. One rule:
time, randomness and configuration come in as arguments, so that a pod, the control plane's previews and a test run the
same code.
"""
