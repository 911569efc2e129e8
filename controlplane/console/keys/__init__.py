"""Pages of virtual keys, from the mint to how far a revocation has got, and of model aliases."""
