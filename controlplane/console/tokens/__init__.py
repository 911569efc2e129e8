"""Pages of API tokens: minted, shown once, revoked."""
