"""Both planes as real processes: what holds between them, also while they are killed and cut off from each other."""
