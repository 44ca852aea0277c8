use std::collections::BTreeSet;

use crate::CryptError;

const OPTION: &str = "--encrypt-layer";

/// Which layers are to be encrypted: all, or some by index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerSelection {
    /// Empty means all; negative ones count from the end.
    indices: Vec<i64>,
}

impl LayerSelection {
    /// All layers.
    pub fn all() -> Self {
        Self::default()
    }

    /// Reads the option's values, each an index or several with commas between them; none at all means every layer.
    ///
    /// # Errors
    /// Something is not a whole number.
    pub fn parse<T: AsRef<str>>(values: &[T]) -> Result<Self, CryptError> {
        let parts = values.iter().flat_map(|value| value.as_ref().split(','));
        let indices = parts.map(|part| {
            part.trim().parse().map_err(|_| {
                let shown = securecp_oci::Escaped::new(part).limit(40).to_string();
                let problem = format!("{shown:?} is not the index of a layer");
                CryptError::Option { option: OPTION, problem }
            })
        });
        Ok(Self { indices: indices.collect::<Result<_, _>>()? })
    }

    /// The indices as given; empty means all.
    pub fn indices(&self) -> &[i64] {
        &self.indices
    }

    /// The positions in an image of `count` layers; indices that mean the same layer count once.
    ///
    /// # Errors
    /// An index is out of range.
    pub fn positions(&self, count: usize) -> Result<BTreeSet<usize>, CryptError> {
        if self.indices.is_empty() {
            return Ok((0..count).collect());
        }
        let position = |index: &i64| {
            let from_end = if *index < 0 { i64::try_from(count).unwrap_or(i64::MAX) } else { 0 };
            let place = index.checked_add(from_end).and_then(|place| usize::try_from(place).ok());
            let place = place.filter(|place| *place < count);
            place.ok_or(CryptError::LayerIndex { index: *index, count })
        };
        self.indices.iter().map(position).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(values: &[&str], count: usize) -> Result<Vec<usize>, String> {
        let selection = LayerSelection::parse(values).map_err(|error| error.to_string())?;
        let found = selection.positions(count).map_err(|error| error.to_string())?;
        Ok(found.into_iter().collect())
    }

    #[test]
    fn counts_from_either_end_and_each_layer_once() {
        assert_eq!(positions(&[], 2).unwrap(), [0, 1]);
        assert_eq!(positions(&["1"], 3).unwrap(), [1]);
        assert_eq!(positions(&["-1,2", "0"], 3).unwrap(), [0, 2]);
        assert_eq!(positions(&["-3"], 3).unwrap(), [0]);
    }

    #[test]
    fn refuses_what_does_not_exist() {
        let error = positions(&["9"], 2).unwrap_err();
        assert_eq!(error, "layer index 9 out of range (2 layers exist)");
        for bad in ["3", "-4", "9223372036854775807", "-9223372036854775808", "x", "", "1.0"] {
            assert!(positions(&[bad], 3).is_err(), "{bad}");
        }
        assert!(positions(&["0"], 0).is_err());
    }
}
