"""Pages of usage records."""
