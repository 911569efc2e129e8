"""The provider's side: connections, the pool that lends them, the gate that opens them, how they read and what share of
the loop their dear bytes have, kinds with their own way."""
