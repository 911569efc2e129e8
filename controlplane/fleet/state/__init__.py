"""What pods should know: rows read and compiled into resources, numbered by revision, kept by a replica."""
