//! where images live, as sources and destinations: registry, OCI layout, directory.
