"""The stages of a request, one module each, in the order in which `dataplane/proxy/pipeline.py` calls them."""
