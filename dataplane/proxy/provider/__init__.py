"""The provider's side: connections, the pool that lends them, the one gate through which they are opened."""
