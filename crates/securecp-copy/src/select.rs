use securecp_oci::PlatformWish;

/// Which manifests of an index are copied; without effect on a single image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// The one image for this platform, without its index.
    System(PlatformWish),
    /// The index and everything it names, nested indexes included.
    All,
    /// The index alone.
    IndexOnly,
    /// The images for these platforms, with their attestations, under an index.
    Platforms {
        /// Each must be served.
        wishes: Vec<PlatformWish>,
        /// What becomes of the index.
        index: IndexMode,
    },
}

/// What becomes of an index of which only some entries are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexMode {
    /// Its bytes and digest stay; it names manifests that are not there.
    Sparse,
    /// It is written anew with only the entries that are copied.
    Rewrite,
}

/// The platform of this machine in the words of image indexes.
///
/// The variant of arm machines is told from the instruction set that this program was built for.
pub fn host_platform() -> PlatformWish {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    };
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let variant = match architecture {
        "arm64" => Some("v8".to_owned()),
        "arm" => Some("v7".to_owned()),
        _ => None,
    };
    PlatformWish { os: os.to_owned(), architecture: architecture.to_owned(), variant }
}
