"""Pages of usage: the ledger filtered, searched, summed and exported, and one page per request."""
