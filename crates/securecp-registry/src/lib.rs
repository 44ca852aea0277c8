//! the OCI distribution protocol: authentication, uploads, mirrors, referrers.
