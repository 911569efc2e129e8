"""Pages of logins, for operators, and the log-in itself with its brake."""
