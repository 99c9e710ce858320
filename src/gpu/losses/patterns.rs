//! The launcher of each pattern.

use super::elementwise::Elementwise;
use super::launcher::Launcher;
use super::rows::Rows;
use super::segments::Segments;
use super::target_rows::TargetRows;
use super::vectors::Vectors;
use crate::data::shape::BatchShape;
use crate::loss::{Pattern, Spec};

/// The launcher of a loss over a batch of this shape.
pub(super) fn launcher<'a>(spec: Spec<'a>, shape: BatchShape) -> Box<dyn Launcher + 'a> {
    match spec {
        Spec::Elementwise(loss) => Box::new(Elementwise { loss, shape }),
        Spec::Rows(loss) => Box::new(Rows { loss, shape }),
        Spec::TargetRows(loss) if loss.shader.pattern == Pattern::TargetRows => Box::new(TargetRows { loss, shape }),
        Spec::TargetRows(loss) => Box::new(Segments { loss, shape }),
        Spec::Vectors(loss) => Box::new(Vectors { loss, shape }),
    }
}
