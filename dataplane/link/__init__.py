"""The wire to the control plane: configuration down, usage records up, one gRPC connection per pod.

Nouns: a session (one Watch stream, as a pure state machine), the replica (the configuration as it was sent), the spool
(usage records until they are acknowledged), the lease client (the pod's money, and the asks for more). The rule: only
this package knows protobuf and grpc, and what it hands over are the nouns of `dataplane.core`.
"""
