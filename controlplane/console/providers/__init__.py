"""Pages of providers, whose credential goes in and never comes out, and of price overrides."""
