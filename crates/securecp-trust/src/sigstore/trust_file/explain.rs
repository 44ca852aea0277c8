//! What a trust file asks of an image, for people and machines.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use securecp_oci::ImageIdentity;
use serde::Serialize;

use super::{Accept, Demand, TrustFile, shown};

/// What is asked of one image, and by which entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TrustExplanation {
    /// The entry of the file that decides alone.
    pub scope: String,
    /// What it asks.
    #[serde(flatten)]
    pub demand: TrustDemand,
}

/// What is asked of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "demand", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum TrustDemand {
    /// Nothing more than the policy asks.
    PolicyOnly,
    /// No image passes.
    Reject,
    /// Signatures.
    Signed {
        /// The forms that count: `any`, `bundle` or `attachment`.
        accept: &'static str,
        /// Who must have signed.
        require: String,
        /// Everybody whom the rule names, and how they are known.
        signers: BTreeMap<String, String>,
        /// The file with the authorities and logs that are trusted.
        trusted_root: Option<String>,
    },
}

impl TrustFile {
    /// What the file asks of an image.
    pub fn explain(&self, image: &ImageIdentity) -> TrustExplanation {
        let (scope, demand) = self.demand_for(image);
        let demand = match demand {
            Demand::PolicyOnly => TrustDemand::PolicyOnly,
            Demand::Reject => TrustDemand::Reject,
            Demand::Signed { accept, rule } => {
                let names = rule.names();
                let named = self.signers.iter().filter(|(name, _)| names.contains(name.as_str()));
                TrustDemand::Signed {
                    accept: accept.name(),
                    require: rule.to_string(),
                    signers: named.map(|(n, signer)| (shown(n), signer.to_string())).collect(),
                    trusted_root: self.trusted_root().map(shown),
                }
            }
        };
        TrustExplanation { scope: shown(&scope), demand }
    }
}

impl Accept {
    fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Bundle => "bundle",
            Self::Attachment => "attachment",
        }
    }
}

impl Display for TrustExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "entry of the trust file: {}", self.scope)?;
        match &self.demand {
            TrustDemand::PolicyOnly => writeln!(f, "  policy-only: nothing more is asked"),
            TrustDemand::Reject => writeln!(f, "  reject: no image passes"),
            TrustDemand::Signed { accept, require, signers, trusted_root } => {
                let form = match *accept {
                    "any" => "a bundle or an attachment",
                    "bundle" => "a bundle",
                    _ => "an attachment",
                };
                writeln!(f, "  {form} by {require}")?;
                signers.iter().try_for_each(|(name, known)| writeln!(f, "    {name}: {known}"))?;
                let root = trusted_root.as_ref();
                root.map_or(Ok(()), |path| writeln!(f, "  trusted root: {path}"))
            }
        }
    }
}
