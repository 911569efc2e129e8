"""Pages of pods, and how far a change has got."""
