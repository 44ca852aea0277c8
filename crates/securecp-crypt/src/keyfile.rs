/// Why a key file cannot be used. Never quotes the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It is not a key of any known form.
    #[error("{name}: not a key or certificate of any known form")]
    Unknown {
        /// The file.
        name: String,
    },
}
