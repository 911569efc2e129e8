"""What is decided about money: amounts, prices, windows, accounts, leases, holds and the words for each.

Nouns: `Account` (one budget, one member, one window), `Lessor` (the control plane's side of leases), `LeaseBook` (a
pod's side), `Hold` (what one request has set aside), `PriceList`, `Window`. The rule: integers only (nano-dollars), and
no clock: instants come in.
"""
