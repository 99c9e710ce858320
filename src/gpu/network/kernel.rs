//! The kernels of training other than the losses': shaders/network/.

use crate::data::device_tensor::ElementType;
use crate::error::Result;
use crate::gpu::device::adapter::AdapterDescription;
use crate::gpu::device::kernel::{Binding, Kernel, ParamsLayout, create_pipeline, header, params};
use crate::gpu::device::options::ProductWalk;
use crate::gpu::losses::shader::{HALF, elementwise_source};
use crate::loss::{LossShader, Pattern, SHADERS};
use crate::nn::Activation;

params! {
    pub(in crate::gpu) struct GatherParams {
        count: u32,
        columns: u32,
        grid_width: u32,
        /// Where in `order` the batch begins.
        first: u32,
        /// The rows that `data` holds: large data sets are bound in parts.
        data_first_row: u32,
        data_rows: u32,
        data_shift: u32,
    }
    padding: u32
}

const GATHER: [Binding; 3] =
    [Binding::read("data", "u32"), Binding::read("order", "u32"), Binding::written("batch", "u32")];

params! {
    /// Parameters of shaders/network/product.wgsl: A is m x k and B is k x n, both with strides; C is contiguous.
    pub(in crate::gpu) struct ProductParams {
        m: u32,
        n: u32,
        k: u32,
        a_row: u32,
        a_column: u32,
        b_row: u32,
        b_column: u32,
        b_shift: u32,
        extra_shift: u32,
        out_shift: u32,
        bias_shift: u32,
    }
    padding: u32
}

const PRODUCT: [Binding; 4] = [
    Binding::read("a", "f32"),
    Binding::read("b", "f32"),
    Binding::read("extra", "f32"),
    Binding::written("out", "f32"),
];

params! {
    pub(in crate::gpu) struct OutputGradientParams {
        count: u32,
        grid_width: u32,
    }
    padding: [u32; 2]
}

const OUTPUT_GRADIENT: [Binding; 2] = [Binding::read("outputs", "f32"), Binding::written("gradient", "f32")];

params! {
    /// Parameters of shaders/network/update.wgsl: an update as [`crate::nn::Optimizer`] defines it.
    pub(in crate::gpu) struct UpdateParams {
        count: u32,
        grid_width: u32,
        coupled_decay: f32,
        decoupled_decay: f32,
        rate: f32,
        first_decay: f32,
        first_gain: f32,
        second_decay: f32,
        second_gain: f32,
        root_scale: f32,
        epsilon: f32,
    }
    padding: u32
}

const UPDATE: [Binding; 4] = [
    Binding::read("gradient", "f32"),
    Binding::written("weights", "f32"),
    Binding::written("first", "f32"),
    Binding::written("second", "f32"),
];

params! {
    /// Parameters of shaders/network/whole_steps.wgsl.
    pub(in crate::gpu) struct WholeStepsParams {
        steps: u32,
        batch: u32,
        samples: u32,
        /// Where in `order` the first batch begins.
        first: u32,
        /// Where the first batch's partial is written.
        first_partial: u32,
        columns: u32,
        layers: u32,
        data_shift: u32,
        targets_shift: u32,
        margin: f32,
        kink_slope: f32,
        penalty_gamma: f32,
        penalty_scale: f32,
        /// Unused: batches differ in size.
        divisor: f32,
        coupled_decay: f32,
        decoupled_decay: f32,
        first_decay: f32,
        first_gain: f32,
        second_decay: f32,
        second_gain: f32,
        epsilon: f32,
        reserved_a: u32,
        reserved_b: u32,
        reserved_c: u32,
        /// Two entries per layer, for at most `MOST_LAYERS` layers: inputs, outputs, activation, position of the
        /// outputs in `work`; then positions of weights and bias, and position of the slopes in `work`.
        layer: [[u32; 4]; 16],
        /// Learning rate and root_scale per step, for at most `MOST_STEPS` steps.
        rates: [[f32; 4]; 256],
    }
}

const WHOLE_STEPS: [Binding; 8] = [
    Binding::read("data", "u32"),
    Binding::read("targets", "u32"),
    Binding::read("order", "u32"),
    Binding::written("weights", "f32"),
    Binding::written("first", "f32"),
    Binding::written("second", "f32"),
    // Outputs and slopes of every layer for one batch.
    Binding::written("work", "f32"),
    Binding::written("partials", "Partial"),
];

params! {
    pub(in crate::gpu) struct KerasAccuracyParams {
        count: u32,
    }
    padding: [u32; 3]
}

const KERAS_ACCURACY: [Binding; 3] =
    [Binding::read("scores", "f32"), Binding::read("targets", "f32"), Binding::written("right", "u32")];

/// What a product of matrices is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A layer's output.
    Output = 0,
    /// The gradient of the weighted sums of the layer before.
    InputGradient = 1,
    /// The gradient of weights and bias.
    WeightGradient = 2,
}

/// From this many workgroups on, [`ProductWalk::LargeTiles`] keeps a GPU busy.
const MANY_LARGE_TILES: usize = 256;

impl ProductWalk {
    /// All walks.
    pub const ALL: [Self; 3] = [Self::SmallTiles, Self::LargeTiles, Self::Subgroup];

    /// The walk for a product of m x n elements on an adapter.
    ///
    /// Square products on llvmpipe (two cores, subgroups of 8), in milliseconds:
    ///
    /// | size | small tiles | large tiles | subgroup |
    /// |-----:|------------:|------------:|---------:|
    /// |   64 |        0.49 |        0.33 |     0.19 |
    /// |  256 |        10.6 |         4.9 |      2.6 |
    /// | 1024 |         454 |         239 |      130 |
    ///
    /// On a GPU a broadcast is no cheaper than a read of workgroup memory, so it uses tiles. Large tiles load half as
    /// often per sum, but need a large product. On an H100, in microseconds:
    ///
    /// | size | small tiles | large tiles |
    /// |-----:|------------:|------------:|
    /// |  256 |          19 |          43 |
    /// |  512 |          37 |          78 |
    /// | 1024 |         162 |         152 |
    /// | 2048 |        1185 |        1011 |
    /// | 4096 |        9260 |        6969 |
    pub(super) fn of(adapter: &AdapterDescription, (m, n): (usize, usize)) -> Self {
        let large = Self::LargeTiles.tile() as usize;
        if adapter.is_software() {
            if Self::Subgroup.runs_on(adapter) { Self::Subgroup } else { Self::LargeTiles }
        } else if m.div_ceil(large) * n.div_ceil(large) >= MANY_LARGE_TILES {
            Self::LargeTiles
        } else {
            Self::SmallTiles
        }
    }

    /// True if the adapter's subgroups are large enough.
    pub fn runs_on(self, adapter: &AdapterDescription) -> bool {
        let has_eight = adapter.features.contains(wgpu::Features::SUBGROUP) && adapter.subgroup_sizes.0 >= 8;
        self != Self::Subgroup || has_eight
    }

    /// `TILE` of the shader: rows and columns per workgroup.
    pub(super) fn tile(self) -> u32 {
        if self == Self::LargeTiles { 64 } else { 32 }
    }

    fn source(self) -> String {
        let tiles = include_str!("../../../shaders/network/product_tiles.wgsl");
        match self {
            Self::SmallTiles => format!("const BLOCKS: u32 = 1u;\n{tiles}"),
            Self::LargeTiles => format!("const BLOCKS: u32 = 2u;\n{tiles}"),
            Self::Subgroup => include_str!("../../../shaders/network/product_subgroup.wgsl").into(),
        }
    }
}

/// One kernel with its constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetworkKernel {
    /// Gathers the rows of a batch from the data set.
    Gather {
        /// The number of the features' element type.
        feature_type: u8,
    },
    /// A product of matrices.
    Product {
        /// Its purpose.
        role: Role,
        /// The activation to apply, or to take the slope of.
        activation: Activation,
        /// How it walks.
        walk: ProductWalk,
    },
    /// The slope of the last activation.
    OutputGradient {
        /// The last layer's activation.
        activation: Activation,
    },
    /// A step of the optimizer.
    Update {
        /// The number of the rule.
        rule: u8,
        /// Nesterov's momentum.
        nesterov: bool,
        /// Whether SGD has momentum.
        has_memory: bool,
    },
    /// Keras's accuracy.
    KerasAccuracy,
    /// Whole steps of a small network.
    WholeSteps {
        /// A loss of the elementwise pattern.
        loss: LossShader,
        /// Lanes of the workgroup.
        lanes: u32,
        /// Whether weights are updated.
        trains: bool,
        /// The number of the loss's penalty.
        penalty: u8,
        /// The number of the loss's rule for decoded targets.
        target_rule: u8,
        /// The number of the features' element type.
        feature_type: u8,
        /// The number of the optimizer's rule.
        rule: u8,
        /// Nesterov's momentum.
        nesterov: bool,
        /// Whether SGD has momentum.
        has_memory: bool,
    },
}

/// The number of the features' element type in shaders/common/feature.wgsl, which reads a u8 as x / 255.
pub(super) fn feature_number(element: ElementType) -> u8 {
    match element {
        ElementType::U8 => 3,
        other => other.score_number(),
    }
}

/// The number of an activation in shaders/network/activation.wgsl.
pub(super) fn activation_number(activation: Activation) -> u32 {
    match activation {
        Activation::Identity => 0,
        Activation::Relu => 1,
        Activation::Tanh => 2,
        Activation::Sigmoid => 3,
    }
}

impl NetworkKernel {
    /// Every kernel, for the tests that validate shaders.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::KerasAccuracy];
        all.extend([0, 1, 2, 3].map(|feature_type| Self::Gather { feature_type }));
        for &(activation, _) in Activation::NAMES {
            all.push(Self::OutputGradient { activation });
            for role in [Role::Output, Role::InputGradient, Role::WeightGradient] {
                all.extend(ProductWalk::ALL.map(|walk| Self::Product { role, activation, walk }));
            }
        }
        for rule in 0..3 {
            for (nesterov, has_memory) in [(false, false), (false, true), (true, true)] {
                all.push(Self::Update { rule, nesterov, has_memory });
                for &loss in SHADERS.iter().filter(|loss| loss.pattern == Pattern::Elementwise) {
                    let cases = [(0, 0, 0, 32), (1, 2, 3, 256), (2, 0, 1, 32), (3, 0, 2, 256)];
                    for (penalty, target_rule, feature_type, lanes) in cases {
                        let kernel = Self::WholeSteps {
                            loss,
                            lanes,
                            trains: feature_type % 2 == 0,
                            penalty,
                            target_rule,
                            feature_type,
                            rule,
                            nesterov,
                            has_memory,
                        };
                        all.push(kernel);
                    }
                }
            }
        }
        all
    }

    /// The stem of its file in shaders/network.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gather { .. } => "gather",
            Self::Product { .. } => "product",
            Self::OutputGradient { .. } => "output_gradient",
            Self::Update { .. } => "update",
            Self::KerasAccuracy => "keras_accuracy",
            Self::WholeSteps { .. } => "whole_steps",
        }
    }

    /// The WGSL text, without the constants.
    pub fn source(&self) -> String {
        let activation = include_str!("../../../shaders/network/activation.wgsl");
        let feature = include_str!("../../../shaders/common/feature.wgsl");
        let optimizer = include_str!("../../../shaders/network/optimizer.wgsl");
        let header = header(&self.params(), self.bindings());
        let kernel = match self {
            Self::Gather { .. } => [HALF, feature, include_str!("../../../shaders/network/gather.wgsl")].join("\n"),
            Self::Product { walk, .. } => {
                [activation, include_str!("../../../shaders/network/product.wgsl"), &walk.source()].join("\n")
            }
            Self::OutputGradient { .. } => {
                [activation, include_str!("../../../shaders/network/output_gradient.wgsl")].join("\n")
            }
            Self::Update { .. } => [optimizer, include_str!("../../../shaders/network/update.wgsl")].join("\n"),
            Self::WholeSteps { loss, lanes, .. } => {
                let whole = include_str!("../../../shaders/network/whole_steps.wgsl");
                [&elementwise_source(loss, *lanes), activation, feature, optimizer, whole].join("\n")
            }
            Self::KerasAccuracy => include_str!("../../../shaders/network/keras_accuracy.wgsl").into(),
        };
        header + &kernel
    }

    /// The pipeline constants by their WGSL names.
    pub fn constants(&self) -> Vec<(&'static str, f64)> {
        let flag = |x: bool| f64::from(u8::from(x));
        match *self {
            Self::Gather { feature_type } => vec![("FEATURE_TYPE", feature_type.into())],
            Self::Product { role, activation, .. } => {
                vec![("ROLE", f64::from(role as u8)), ("ACTIVATION", f64::from(activation_number(activation)))]
            }
            Self::OutputGradient { activation } => vec![("ACTIVATION", f64::from(activation_number(activation)))],
            Self::Update { rule, nesterov, has_memory } => {
                vec![("RULE", rule.into()), ("NESTEROV", flag(nesterov)), ("HAS_MEMORY", flag(has_memory))]
            }
            Self::KerasAccuracy => vec![],
            Self::WholeSteps { trains, penalty, target_rule, feature_type, rule, nesterov, has_memory, .. } => vec![
                ("TRAINS", flag(trains)),
                ("PENALTY", penalty.into()),
                ("TARGET_RULE", target_rule.into()),
                ("TARGET_TYPE", ElementType::F32.target_number().into()),
                ("FEATURE_TYPE", feature_type.into()),
                ("RULE", rule.into()),
                ("NESTEROV", flag(nesterov)),
                ("HAS_MEMORY", flag(has_memory)),
            ],
        }
    }

    /// How its parameters lie in memory.
    pub fn params(&self) -> ParamsLayout {
        match self {
            Self::Gather { .. } => GatherParams::LAYOUT,
            Self::Product { .. } => ProductParams::LAYOUT,
            Self::OutputGradient { .. } => OutputGradientParams::LAYOUT,
            Self::Update { .. } => UpdateParams::LAYOUT,
            Self::KerasAccuracy => KerasAccuracyParams::LAYOUT,
            Self::WholeSteps { .. } => WholeStepsParams::LAYOUT,
        }
    }

    fn bindings(&self) -> &'static [Binding] {
        match self {
            Self::Gather { .. } => &GATHER,
            Self::KerasAccuracy => &KERAS_ACCURACY,
            Self::Product { .. } => &PRODUCT,
            Self::OutputGradient { .. } => &OUTPUT_GRADIENT,
            Self::Update { .. } => &UPDATE,
            Self::WholeSteps { .. } => &WHOLE_STEPS,
        }
    }
}

impl Kernel for NetworkKernel {
    fn check(&self, _: &wgpu::Limits) -> Result<()> {
        Ok(())
    }

    fn create_pipeline(&self, device: &wgpu::Device) -> wgpu::ComputePipeline {
        create_pipeline(device, self.name(), self.source(), self.bindings(), &self.constants())
    }
}
