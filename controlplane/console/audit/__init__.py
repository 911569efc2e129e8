"""Pages of the audit: events, read and searched, never changed."""
