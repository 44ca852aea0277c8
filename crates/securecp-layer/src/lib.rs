//! bytes in motion: stages, transforms, verification, codecs, spools, scopes, reports.
