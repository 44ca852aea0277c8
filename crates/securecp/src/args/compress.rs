use clap::Args;

/// How layers are compressed at the destination.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Compression (nothing changes unless asked for)")]
pub(crate) struct CompressArgs {
    /// Give every layer this compression: gzip or zstd
    #[arg(long, value_name = "FORMAT")]
    pub(crate) dest_compress_format: Option<String>,

    /// How hard to compress: 0 to 9 for gzip, 1 to 22 for zstd
    #[arg(long, value_name = "N")]
    pub(crate) dest_compress_level: Option<i64>,

    /// Never use a blob of another compression instead; needs --dest-compress-format
    #[arg(long)]
    pub(crate) dest_force_compress_format: bool,

    /// Compress layers that are not compressed (dir: only)
    #[arg(long)]
    pub(crate) dest_compress: bool,

    /// Decompress layers (dir: only)
    #[arg(long)]
    pub(crate) dest_decompress: bool,

    /// Leave uncompressed layers as they are, which is what happens anyway (oci: only)
    #[arg(long)]
    pub(crate) dest_oci_accept_uncompressed_layers: bool,

    /// Find out digests of changed layers before sending them, so that none that is there is sent (docker: only)
    #[arg(long)]
    pub(crate) dest_precompute_digests: bool,

    /// Believe what earlier copies remembered of recompressed layers without reading those layers again
    #[arg(long)]
    pub(crate) dangerous_trust_cache: bool,
}
