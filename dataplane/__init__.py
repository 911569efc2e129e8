"""The data plane: what happens to one request. Stateless pods; no database, no Django.

One rule: a request touches the pod object that it was given and nothing else; what a pod must know arrives over the
link.
"""

VERSION = "0.1.0"
