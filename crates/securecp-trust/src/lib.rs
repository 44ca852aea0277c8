//! signatures made and judged: policy, simple signing, sigstore; pure.
