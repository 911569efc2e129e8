"""How the product is set up and run: `setup.sh`, the one-machine demo, lock files, container examples."""
