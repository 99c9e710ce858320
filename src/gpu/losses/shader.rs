//! Assembles a kernel from its parts, and lists all variants: one list for the pipeline cache and the tests.

use std::collections::HashSet;

use super::partial::Partial;
use super::templates::{LossParams, RankedStep, template};
use crate::data::device_tensor::{DeviceTensor, ElementType};
use crate::data::labels::{LabelEncoding, TargetRule};
use crate::error::{Error, Result};
use crate::gpu::device::kernel::{Kernel, ParamsLayout, create_pipeline, header};
use crate::gpu::device::options::Exchange;
use crate::gpu::device::tensor::QUAD_BYTES;
use crate::gpu::workgroups::WORKGROUP;
use crate::loss::{LossShader, Pattern, Penalty, SHADERS};

/// The file of shaders/common that provides the kernels' real numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// Plain f32, for input small enough to rule out overflow and non-finite values.
    Finite,
    /// IEEE 754 for any input, computed on bits.
    Extended,
}

/// The pipeline constants of a variant (WGSL `override`s).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Constants {
    /// The number of the penalty.
    pub penalty: u8,
    /// Sample weights are bound.
    pub has_weights: bool,
    /// Class weights are bound (rows).
    pub has_class_weights: bool,
    /// Margins of pairs of classes are bound (rows).
    pub has_margin_matrix: bool,
    /// Losses are written.
    pub write_losses: bool,
    /// The gradient is written.
    pub write_gradient: bool,
    /// Per-class sums are written (rows).
    pub write_per_class: bool,
    /// Only counts, weights and bad elements are computed.
    pub only_weights: bool,
    /// Ties share the gradient (rows).
    pub split_ties: bool,
    /// The number of the scores' element type.
    pub score_type: u8,
    /// The number of the targets' element type.
    pub target_type: u8,
    /// The number of the target rule (elementwise).
    pub target_rule: u8,
    /// A sample is a pair of scores (elementwise).
    pub pairs: bool,
    /// The number of the distance (vectors).
    pub distance: u8,
    /// The distance between second and third vector is wanted (vectors).
    pub third: bool,
    /// The number of the step, if several dispatches process a list (ranked).
    pub step: u8,
}

impl Constants {
    /// The constants of this pattern by their WGSL names.
    pub fn named(&self, pattern: Pattern) -> Vec<(&'static str, f64)> {
        let flag = |x: bool| f64::from(u8::from(x));
        let own = template(pattern).constants;
        let of_all = [
            ("PENALTY", f64::from(self.penalty)),
            ("HAS_WEIGHTS", flag(self.has_weights)),
            ("WRITE_LOSSES", flag(self.write_losses)),
            ("WRITE_GRADIENT", flag(self.write_gradient)),
            ("ONLY_WEIGHTS", flag(self.only_weights)),
            ("SCORE_TYPE", f64::from(self.score_type)),
            ("TARGET_TYPE", f64::from(self.target_type)),
        ];
        let of_some = [
            ("TARGET_RULE", f64::from(self.target_rule)),
            ("PAIRS", flag(self.pairs)),
            ("HAS_CLASS_WEIGHTS", flag(self.has_class_weights)),
            ("HAS_MARGIN_MATRIX", flag(self.has_margin_matrix)),
            ("WRITE_PER_CLASS", flag(self.write_per_class)),
            ("SPLIT_TIES", flag(self.split_ties)),
            ("DISTANCE", f64::from(self.distance)),
            ("THIRD", flag(self.third)),
            ("STEP", f64::from(self.step)),
        ];
        of_all.into_iter().chain(of_some.into_iter().filter(|(name, _)| own.contains(name))).collect()
    }
}

/// Which file of shaders/common loads words from the buffers. Quads and words give the same results, bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loads {
    /// Four words at once.
    Quads,
    /// Word by word.
    Words,
    /// Rows of classes only: each lane walks its own row in workgroup memory, which all lanes fill word by word.
    Staged,
}

impl Loads {
    /// How a kernel that finds its own place within a quad may load this tensor. Whole quads would go beyond the end of
    /// a caller's own buffer if its size is no multiple of a quad's.
    pub(in crate::gpu) fn of(tensor: &DeviceTensor) -> Self {
        let Some((buffer, offset)) = tensor.buffer() else { return Loads::Quads };
        let end = offset + (tensor.element_type().bits() * tensor.len() as u64).div_ceil(8);
        if end.next_multiple_of(QUAD_BYTES) <= buffer.size() { Loads::Quads } else { Loads::Words }
    }

    /// As [`Loads::of`], for a kernel that takes four elements at a time, starting at the first.
    pub(in crate::gpu) fn by_four(tensor: &DeviceTensor) -> Self {
        let first = tensor.buffer().map_or(0, |(_, offset)| 8 * offset / tensor.element_type().bits());
        if first.is_multiple_of(4) { Self::of(tensor) } else { Loads::Words }
    }
}

impl Exchange {
    fn source(self) -> &'static str {
        match self {
            Self::Workgroup => include_str!("../../../shaders/common/lanes_alone.wgsl"),
            Self::Subgroups(_) => include_str!("../../../shaders/common/lanes_exchange.wgsl"),
        }
    }

    /// `MOST_SUBGROUPS` of the shader.
    fn most_subgroups(self) -> u32 {
        if self == Self::Workgroup { WORKGROUP } else { WORKGROUP / 4 }
    }
}

/// One compiled kernel: a loss, its arithmetic, how it loads and exchanges, and its constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The loss and its pattern.
    pub loss: LossShader,
    /// The arithmetic of its real numbers.
    pub arithmetic: Arithmetic,
    /// How it loads scores; an elementwise kernel loads all its buffers this way.
    pub loads: Loads,
    /// How its lanes combine their results.
    pub exchange: Exchange,
    /// The pipeline constants.
    pub constants: Constants,
}

/// `STAGE_STRIDE` of shaders/common/rows_by_lane.wgsl.
const STAGE_STRIDE: usize = 17;

/// Bytes of workgroup memory of a pattern. Per subgroup (per lane without subgroups): a Partial and the template's
/// `subgroup_bytes`. Per lane: the template's `lane_bytes` and the columns of a stage.
pub(in crate::gpu) fn workgroup_bytes(pattern: Pattern, loads: Loads, exchange: Exchange) -> u64 {
    let template = template(pattern);
    let stage = if loads == Loads::Staged { 4 * STAGE_STRIDE } else { 0 };
    let subgroup = (size_of::<Partial>() + template.subgroup_bytes) as u64;
    subgroup * u64::from(exchange.most_subgroups()) + (template.lane_bytes + stage) as u64 * u64::from(WORKGROUP)
}

impl Variant {
    pub(in crate::gpu) fn at_step(&self, step: u8) -> Self {
        Self { constants: Constants { step, ..self.constants }, ..self.clone() }
    }

    /// The WGSL text, without the constants.
    pub fn source(&self) -> String {
        let template = template(self.loss.pattern);
        let loads = match self.loads {
            Loads::Quads => include_str!("../../../shaders/common/loads_in_quads.wgsl"),
            Loads::Words | Loads::Staged => include_str!("../../../shaders/common/loads_in_words.wgsl"),
        };
        let walk = match (self.loss.pattern, self.loads) {
            (Pattern::Rows, Loads::Staged) => include_str!("../../../shaders/common/rows_by_lane.wgsl"),
            (Pattern::Rows, _) => include_str!("../../../shaders/common/rows_by_team.wgsl"),
            _ => "",
        };
        let header = header(&LossParams::LAYOUT, &template.bindings());
        let common = common_source(self.arithmetic, self.exchange, WORKGROUP);
        let options = include_str!("../../../shaders/common/options.wgsl");
        let mut parts = vec![&header[..], &common, options, loads];
        parts.extend(template.common);
        parts.extend([walk, self.loss.source, template.source]);
        parts.join("\n")
    }

    /// How its parameters lie in memory.
    pub fn params(&self) -> ParamsLayout {
        LossParams::LAYOUT
    }

    /// Bytes of workgroup memory: the pattern's, and the loss's own. A device opened with wgpu's default limits has 16
    /// KiB, too little for rows and lists without subgroups.
    pub fn workgroup_bytes(&self) -> u64 {
        workgroup_bytes(self.loss.pattern, self.loads, self.exchange) + self.loss.workgroup_bytes
    }

    /// The number of storage buffers.
    pub(in crate::gpu) fn storage_buffers(&self) -> u64 {
        template(self.loss.pattern).slots.len() as u64
    }
}

impl Kernel for Variant {
    fn check(&self, limits: &wgpu::Limits) -> Result<()> {
        self.exchange.check()?;
        let limit = limits.max_compute_workgroup_storage_size.into();
        let need = self.workgroup_bytes();
        if need > limit {
            return Err(Error::DeviceLimit { what: "bytes of workgroup memory", limit, got: need });
        }
        let limit = limits.max_storage_buffers_per_shader_stage.into();
        let need = self.storage_buffers();
        if need > limit {
            return Err(Error::DeviceLimit { what: "storage buffers in a kernel", limit, got: need });
        }
        Ok(())
    }

    fn create_pipeline(&self, device: &wgpu::Device) -> wgpu::ComputePipeline {
        let (pattern, mut constants) = (self.loss.pattern, self.constants.named(self.loss.pattern));
        if let Exchange::Subgroups(lanes) = self.exchange {
            constants.push(("SUBGROUP_LANES", lanes.into()));
        }
        create_pipeline(device, self.loss.name, self.source(), &template(pattern).bindings(), &constants)
    }
}

/// Converts half precision to f32.
pub(in crate::gpu) const HALF: &str = include_str!("../../../shaders/common/half.wgsl");

/// The common start of every kernel with a loss.
fn common_source(arithmetic: Arithmetic, exchange: Exchange, lanes: u32) -> String {
    let real = match arithmetic {
        Arithmetic::Finite => include_str!("../../../shaders/common/real_finite.wgsl"),
        Arithmetic::Extended => include_str!("../../../shaders/common/real_extended.wgsl"),
    };
    let workgroup = format!("const WORKGROUP: u32 = {lanes}u;");
    [
        &workgroup,
        exchange.source(),
        include_str!("../../../shaders/common/partial.wgsl"),
        HALF,
        include_str!("../../../shaders/common/load.wgsl"),
        real,
        include_str!("../../../shaders/common/numbers.wgsl"),
        include_str!("../../../shaders/common/penalty.wgsl"),
    ]
    .join("\n")
}

/// An elementwise loss without the pattern: `value_and_slope` and all that it needs.
pub(in crate::gpu) fn elementwise_source(loss: &LossShader, lanes: u32) -> String {
    let point = include_str!("../../../shaders/common/point.wgsl");
    [&common_source(Arithmetic::Extended, Exchange::Workgroup, lanes), point, loss.source].join("\n")
}

/// The kernels that evaluations use. With f32 scores and i32 targets: every combination of the options. With all
/// outputs, and with none: every pair of element types, and every way to load and to exchange.
pub fn variants() -> Vec<Variant> {
    let mut found = HashSet::new();
    let mut all = Vec::new();
    for &loss in SHADERS {
        for arithmetic in [Arithmetic::Finite, Arithmetic::Extended] {
            for bits in 0..1u32 << 10 {
                let bit = |n: u32| bits >> n & 1 == 1;
                let (elementwise, rows) = (loss.pattern == Pattern::Elementwise, loss.pattern == Pattern::Rows);
                let lists = matches!(loss.pattern, Pattern::Segments | Pattern::Ranked);
                let vectors = loss.pattern == Pattern::Vectors;
                let constants = Constants {
                    has_weights: bit(0),
                    write_losses: bit(1),
                    write_gradient: bit(2),
                    only_weights: bit(3),
                    has_class_weights: rows && bit(4),
                    has_margin_matrix: rows && bit(7),
                    write_per_class: rows && bit(5) && !bit(2),
                    split_ties: (rows || loss.pattern == Pattern::TargetRows) && bit(6),
                    distance: if vectors { (bits >> 4 & 7).min(4) as u8 } else { 0 },
                    third: vectors && bit(7),
                    target_rule: match loss.pattern {
                        Pattern::Elementwise => (bits >> 5 & 3).min(2) as u8,
                        Pattern::Segments | Pattern::Ranked => u8::from(bit(5)),
                        Pattern::Vectors => target_rule_number(TargetRule::Signs),
                        Pattern::Rows | Pattern::TargetRows => 0,
                    },
                    pairs: elementwise && bit(7),
                    penalty: (bits >> 8) as u8,
                    ..Constants::default()
                };
                let by_default = if lists || vectors { Loads::Words } else { Loads::Quads };
                let mut add = |loads, exchange, constants| {
                    let variant = Variant { loss, arithmetic, loads, exchange, constants };
                    if found.insert(variant.clone()) {
                        all.push(variant);
                    }
                };
                for step in 0..if loss.pattern == Pattern::Ranked { RankedStep::STEPS } else { 1 } {
                    add(by_default, Exchange::Workgroup, Constants { step, ..constants });
                }
                if rows && !constants.write_per_class {
                    add(Loads::Staged, Exchange::Subgroups(32), constants);
                }
                // Only the bits of the two outputs, the pairs and the target rule may be set.
                if bits & !0b1110_0110 == 0 && bit(1) == bit(2) {
                    add(by_default, Exchange::Subgroups(32), constants);
                    for (score_type, target_type) in (0..3).flat_map(|score| (0..5).map(move |target| (score, target)))
                    {
                        // Class indices are integers.
                        if elementwise || lists || vectors || target_type != ElementType::F32.target_number() {
                            add(by_default, Exchange::Workgroup, Constants { score_type, target_type, ..constants });
                        }
                        if elementwise || target_type == ElementType::I32.target_number() {
                            add(Loads::Words, Exchange::Workgroup, Constants { score_type, target_type, ..constants });
                        }
                    }
                }
            }
        }
    }
    all
}

/// The number of a target rule in elementwise.wgsl.
pub(in crate::gpu) fn target_rule_number(rule: TargetRule) -> u8 {
    match rule {
        TargetRule::Labels(LabelEncoding::PlusMinusOne) => 0,
        TargetRule::Labels(LabelEncoding::ZeroOne) => 1,
        TargetRule::Signs => 2,
    }
}

impl Constants {
    /// The constants of a penalty: its number in penalty.wgsl.
    pub(in crate::gpu) fn penalty(penalty: Penalty) -> Self {
        let penalty = match penalty {
            Penalty::Linear => 0,
            Penalty::Squared => 1,
            Penalty::Smooth { .. } => 2,
            Penalty::Softplus => 3,
        };
        Self { penalty, ..Self::default() }
    }
}
