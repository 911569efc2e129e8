"""Pages of pods: state, revision, problems, eviction."""
