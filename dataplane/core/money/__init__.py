"""What is decided about money: amounts, prices, windows, accounts, leases, holds and the words for each.

Nouns: `Account` (one budget, one member, one window), `Lessor` (the control plane's side of leases), `LeaseBook` (a
pod's side), `Slice` (the part of an account that a pod has leased), `Hold` (what one attempt has set aside), `Ask` (for
more), `PriceList`, `Window`. The rule: integers only (nano-dollars), and no clock: instants come in.
"""
