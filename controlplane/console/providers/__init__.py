"""Pages of providers and price overrides."""
