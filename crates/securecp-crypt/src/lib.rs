//! ocicrypt-compatible layer encryption and key wrapping; pure.
