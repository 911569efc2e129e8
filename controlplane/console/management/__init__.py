"""Commands that need every app: the first set-up, and new root keys."""
