//! the only async room: HTTP, TLS, proxies, time limits behind a blocking facade.
