"""The pods' calls: Watch, Hold, Report and Resolve over gRPC, and who may make them."""
