//! The native part of the Python package `maxmargin`: arrays in and out, and calls of the library without the interpreter. What
//! users see is in `maxmargin/*.py`, which is also where arguments get their defaults.

mod arrays;
mod dlpack;
mod error;
mod jax;
mod linear;
mod linear_parts;
mod loss;
mod metric;
mod network;
mod numbers;
mod process;

/// The module `maxmargin._maxmargin`.
#[pyo3::pymodule]
mod _maxmargin {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::arrays::address;
    #[pymodule_export]
    use crate::jax::jax_handler;
    #[pymodule_export]
    use crate::linear::{NativeLinearModel, linear_fit, linear_path};
    #[pymodule_export]
    use crate::linear_parts::{linear_answer, linear_fit_parts, linear_merge_summaries, linear_part_summary};
    #[pymodule_export]
    use crate::loss::{NativeLoss, evaluate};
    #[pymodule_export]
    use crate::metric::NativeMetric;
    #[pymodule_export]
    use crate::network::{NativeNetwork, NativeTrainer};
    #[pymodule_export]
    use crate::numbers::Numbers;
    #[pymodule_export]
    use crate::process::{PyDevice, adapters, get_num_threads, set_num_threads};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
