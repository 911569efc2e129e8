"""Pages of logins, and the log-in itself."""
