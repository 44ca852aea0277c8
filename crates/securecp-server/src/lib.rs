//! an OCI registry over a directory, for demos, air gaps and tests.
