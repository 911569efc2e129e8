"""Which pods there are, what each has applied, and what the fleet says of itself in figures."""
