//! keys that live elsewhere: gpg, Fulcio, Rekor, key providers.
