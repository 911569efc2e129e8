"""What templates of the console ask for by name."""
