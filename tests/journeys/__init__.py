"""The README's promises, as a newcomer tries them."""
