"""The console: who sees what, what each page does, and where a secret must not be."""
