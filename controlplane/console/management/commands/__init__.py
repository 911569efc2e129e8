"""`bootstrap` and `rotate_root`."""
