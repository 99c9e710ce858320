//! Checks the targets of a whole data set before training starts.

use crate::data::labels::{TargetRowDecoder, decode_class_indices};
use crate::data::shape::BatchShape;
use crate::error::Result;
use crate::loss::Spec;

/// Targets decoded at a time: few enough to stay in the nearest cache.
const CHECKED_TARGETS: usize = 4 << 10;

/// Checks targets of this shape one by one with the loss's own decoder, as an evaluation would.
pub(super) fn check_targets(spec: &Spec<'_>, shape: &BatchShape, targets: &[f64]) -> Result<()> {
    let samples = (CHECKED_TARGETS / shape.columns).max(1);
    let mut decoded = vec![0; samples * shape.columns];
    for (number, targets) in targets.chunks(samples * shape.target_width).enumerate() {
        let decoded = &mut decoded[..targets.len() / shape.target_width * shape.columns];
        let checked = match spec {
            Spec::Elementwise(spec) => spec.target_rule.check(targets),
            Spec::Rows(spec) => {
                decode_class_indices(targets, shape.columns, spec.ignore_index, &mut decoded[..targets.len()])
            }
            Spec::TargetRows(spec) => TargetRowDecoder::new(spec.target_rule, shape).decode_rows(targets, decoded),
            Spec::Vectors(spec) => spec.target_rule.map_or(Ok(()), |rule| rule.check(targets)),
        };
        checked.map_err(|error| shape.whole_index(error, number * samples))?;
    }
    Ok(())
}
