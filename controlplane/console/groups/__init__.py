"""Pages of groups: principals that are treated alike, typed one per line."""
