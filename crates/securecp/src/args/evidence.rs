use clap::Args;

/// What travels beside images.
#[derive(Debug, Args)]
#[command(next_help_heading = "What travels beside it")]
pub(crate) struct EvidenceArgs {
    /// Which evidence is looked for and carried: all, signatures, verified (what the policy or trust file verifies), or none
    /// [default: all]
    #[arg(long, value_name = "WHAT")]
    pub(crate) evidence: Option<String>,

    /// Carry evidence of this artifact type although it is an index or has the configuration of an image; may be repeated
    #[arg(long, value_name = "TYPE")]
    pub(crate) evidence_type: Vec<String>,

    /// What becomes of evidence whose manifest gets another digest: refuse, drop, or record (drop, and store a signed record
    /// of the change beside the new manifest) [default: refuse]
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_orphaned: Option<String>,
}
