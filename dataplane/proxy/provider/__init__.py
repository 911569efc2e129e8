"""The provider's side: connections, the pool that lends them, the gate that opens them, kinds with their own way."""
