//! The kernels of linear models: shaders/linear/.

use crate::error::Result;
use crate::gpu::device::kernel::{Binding, Kernel, ParamsLayout, create_pipeline, header, params};
use crate::gpu::losses::shader::HALF;

params! {
    /// Parameters of the kernels that walk over rows: those of a part that one binding holds.
    pub(in crate::gpu) struct RowParams {
        rows: u32,
        columns: u32,
        /// Rows of a segment, per lane: 32 at most.
        rows_per_lane: u32,
        segments: u32,
        /// The number of the part's first segment.
        first_segment: u32,
        /// Blocks of rows that are added up by a workgroup.
        blocks: u32,
        rows_of_block: u32,
        first_block: u32,
        /// Chunks of segments of which a Gram matrix is added up.
        chunks: u32,
        segments_of_chunk: u32,
        is_first_part: u32,
        /// The intercept's feature.
        constant: f32,
        kappa: f32,
        step_a: f32,
        step_b: f32,
        step_c: f32,
        step_d: f32,
        /// The loss of a weight of 1 is slope * z^2 / 2 up to the bend, and z - bend / 2 beyond.
        slope: f32,
        inverse_slope: f32,
        bend: f32,
        is_unbounded: u32,
        /// Whether the multipliers become the base of those that follow.
        hardens: u32,
    }
    padding: [u32; 2]
}

params! {
    /// Parameters of shaders/linear/reduce.wgsl.
    pub(in crate::gpu) struct ReduceParams {
        length: u32,
        blocks: u32,
    }
    padding: [u32; 2]
}

/// What a product with every row is for: `ROLE` of shaders/linear/product.wgsl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::gpu) enum ProductRole {
    Violations = 0,
    Changes = 1,
    NewtonMatrix = 2,
}

/// One kernel with its constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinearKernel(Step);

/// What a kernel does. Features are read by the number of their type, as they are or standardised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::gpu) enum Step {
    Product { role: ProductRole, lanes_per_row: u32, features: FeatureType },
    Search,
    Follow,
    AddRows { features: FeatureType },
    Gram { features: FeatureType },
    Reduce,
}

/// How features are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::gpu) struct FeatureType {
    /// The number of their type in shaders/common/feature.wgsl.
    pub(in crate::gpu) number: u8,
    pub(in crate::gpu) is_standardized: bool,
}

const DATA: Binding = Binding::read("data", "u32");
const UNITS: Binding = Binding::read("units", "vec2<f32>");
const SIGNED_WEIGHTS: Binding = Binding::read("signed_weights", "f32");
const PRODUCT: [Binding; 6] = [
    DATA,
    UNITS,
    SIGNED_WEIGHTS,
    Binding::read("vector", "f32"),
    Binding::read("multipliers", "f32"),
    Binding::written("out", "f32"),
];
const SEARCH: [Binding; 5] = [
    SIGNED_WEIGHTS,
    Binding::read("z", "f32"),
    Binding::read("dz", "f32"),
    Binding::read("base", "f32"),
    Binding::written("sums", "Sums"),
];
const FOLLOW: [Binding; 7] = [
    SIGNED_WEIGHTS,
    Binding::written("z", "f32"),
    Binding::read("dz", "f32"),
    Binding::written("base", "f32"),
    Binding::written("multipliers", "f32"),
    Binding::written("list", "u32"),
    Binding::written("sums", "Sums"),
];
const ADD_ROWS: [Binding; 5] =
    [DATA, UNITS, SIGNED_WEIGHTS, Binding::read("coefficients", "f32"), Binding::written("partials", "f32")];
const GRAM: [Binding; 6] = [
    DATA,
    UNITS,
    SIGNED_WEIGHTS,
    Binding::read("list", "u32"),
    Binding::read("sums", "Sums"),
    Binding::written("partials", "f32"),
];
const REDUCE: [Binding; 2] = [Binding::read("partials", "f32"), Binding::written("out", "f32")];

impl LinearKernel {
    /// Every kernel, for the tests that validate shaders.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self(Step::Search), Self(Step::Follow), Self(Step::Reduce)];
        for (number, is_standardized) in [0, 1, 2, 4].into_iter().flat_map(|number| [(number, false), (number, true)]) {
            let features = FeatureType { number, is_standardized };
            for role in [ProductRole::Violations, ProductRole::Changes, ProductRole::NewtonMatrix] {
                let product = |lanes_per_row| Self(Step::Product { role, lanes_per_row, features });
                all.extend([1, 32, 256].map(product));
            }
            all.extend([Self(Step::AddRows { features }), Self(Step::Gram { features })]);
        }
        all
    }

    /// The stem of its file in shaders/linear.
    pub fn name(&self) -> &'static str {
        match self.0 {
            Step::Product { .. } => "product",
            Step::Search => "search",
            Step::Follow => "follow",
            Step::AddRows { .. } => "add_rows",
            Step::Gram { .. } => "gram",
            Step::Reduce => "reduce",
        }
    }

    /// The WGSL text, without the constants.
    pub fn source(&self) -> String {
        let (features, multipliers, sums) = (
            [
                HALF,
                include_str!("../../../shaders/common/feature.wgsl"),
                include_str!("../../../shaders/linear/features.wgsl"),
            ]
            .join("\n"),
            include_str!("../../../shaders/linear/multipliers.wgsl"),
            include_str!("../../../shaders/linear/sums.wgsl"),
        );
        let (uses_features, uses_sums, kernel) = match self.0 {
            Step::Product { .. } => (true, false, include_str!("../../../shaders/linear/product.wgsl")),
            Step::Search => (false, true, include_str!("../../../shaders/linear/search.wgsl")),
            Step::Follow => (false, true, include_str!("../../../shaders/linear/follow.wgsl")),
            Step::AddRows { .. } => (true, false, include_str!("../../../shaders/linear/add_rows.wgsl")),
            Step::Gram { .. } => (true, true, include_str!("../../../shaders/linear/gram.wgsl")),
            Step::Reduce => {
                return header(&self.params(), self.bindings()) + include_str!("../../../shaders/linear/reduce.wgsl");
            }
        };
        let mut parts = vec![header(&self.params(), self.bindings()), multipliers.into()];
        parts.extend(uses_features.then_some(features));
        parts.extend(uses_sums.then(|| sums.into()));
        parts.push(kernel.into());
        parts.join("\n")
    }

    /// The pipeline constants by their WGSL names.
    pub fn constants(&self) -> Vec<(&'static str, f64)> {
        let of_features = |features: FeatureType| {
            let standardized = f64::from(u8::from(features.is_standardized));
            vec![("FEATURE_TYPE", features.number.into()), ("STANDARDIZED", standardized)]
        };
        match self.0 {
            Step::Product { role, lanes_per_row, features } => {
                let mut constants = of_features(features);
                constants.extend([("ROLE", f64::from(role as u8)), ("LANES_PER_ROW", lanes_per_row.into())]);
                constants
            }
            Step::AddRows { features } | Step::Gram { features } => of_features(features),
            Step::Search | Step::Follow | Step::Reduce => Vec::new(),
        }
    }

    /// How its parameters lie in memory.
    pub fn params(&self) -> ParamsLayout {
        if self.0 == Step::Reduce { ReduceParams::LAYOUT } else { RowParams::LAYOUT }
    }

    pub(in crate::gpu) fn of(step: Step) -> Self {
        Self(step)
    }

    fn bindings(&self) -> &'static [Binding] {
        match self.0 {
            Step::Product { .. } => &PRODUCT,
            Step::Search => &SEARCH,
            Step::Follow => &FOLLOW,
            Step::AddRows { .. } => &ADD_ROWS,
            Step::Gram { .. } => &GRAM,
            Step::Reduce => &REDUCE,
        }
    }
}

impl Kernel for LinearKernel {
    fn check(&self, _: &wgpu::Limits) -> Result<()> {
        Ok(())
    }

    fn create_pipeline(&self, device: &wgpu::Device) -> wgpu::ComputePipeline {
        create_pipeline(device, self.name(), self.source(), self.bindings(), &self.constants())
    }
}
