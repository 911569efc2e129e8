"""Filters that the console's templates ask for by name."""
