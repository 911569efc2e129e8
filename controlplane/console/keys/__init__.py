"""Pages of virtual keys and model aliases."""
