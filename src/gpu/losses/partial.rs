//! The result of one workgroup, and how the host finishes it in f64.

use bytemuck::{Pod, Zeroable};

use crate::data::device_tensor::ElementType;
use crate::data::evaluation::Totals;
use crate::error::{Error, Result};
use crate::gpu::device::context::Gpu;
#[cfg(feature = "nn")]
use crate::nn::EpochSums;

/// `FLAG_...` of shaders/common/partial.wgsl.
const FLAG_NAN: u32 = 1;
const FLAG_PLUS_INFINITY: u32 = 2;
const FLAG_MINUS_INFINITY: u32 = 4;
pub(in crate::gpu) const FLAG_WILD: u32 = 8;
const FLAG_TOO_LONG: u32 = 16;
const FLAG_SCATTERED: u32 = 32;

/// `NONE_BAD` of shaders/common/partial.wgsl.
const NONE_BAD: u32 = u32::MAX;

/// `Sum` of shaders/common/partial.wgsl.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(in crate::gpu) struct Sum {
    small: f32,
    large: f32,
    flags: u32,
}

impl Sum {
    /// The sum as f64; the flags give NaN and infinities.
    pub(in crate::gpu) fn to_f64(self) -> f64 {
        let infinities = self.flags & (FLAG_PLUS_INFINITY | FLAG_MINUS_INFINITY);
        if self.flags & FLAG_NAN != 0 || infinities == FLAG_PLUS_INFINITY | FLAG_MINUS_INFINITY {
            f64::NAN
        } else if infinities == FLAG_PLUS_INFINITY {
            f64::INFINITY
        } else if infinities == FLAG_MINUS_INFINITY {
            f64::NEG_INFINITY
        } else {
            f64::from(self.small) + f64::from(self.large) * 2f64.powi(32)
        }
    }
}

/// `Bad` of shaders/common/partial.wgsl: the first element that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(in crate::gpu) struct Bad {
    index: u32,
    bits: u32,
}

impl Bad {
    /// The index within the dispatch and the element as text, if there was such an element.
    pub(in crate::gpu) fn found(self, element: ElementType) -> Option<(u32, String)> {
        (self.index != NONE_BAD).then(|| (self.index, element.text(self.bits.to_ne_bytes())))
    }
}

/// `Partial` of shaders/common/partial.wgsl: the result of one workgroup for its samples.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Partial {
    pub(in crate::gpu) loss: Sum,
    pub(in crate::gpu) weight: Sum,
    pub(in crate::gpu) count: u32,
    pub(in crate::gpu) active_count: u32,
    pub(in crate::gpu) correct: u32,
    pub(in crate::gpu) flags: u32,
    pub(in crate::gpu) longest: u32,
    pub(in crate::gpu) bad_target: Bad,
    pub(in crate::gpu) bad_weight: Bad,
}

impl Partial {
    /// Adds these samples to the totals. Without weights each sample counts as one.
    pub(in crate::gpu) fn add_to(&self, totals: &mut Totals, has_weights: bool) {
        totals.sum += self.loss.to_f64();
        totals.count += u64::from(self.count);
        totals.active += u64::from(self.active_count);
        totals.correct += u64::from(self.correct);
        totals.weight_sum += if has_weights { self.weight.to_f64() } else { self.count.into() };
    }

    /// These samples as the sums of training.
    #[cfg(feature = "nn")]
    pub(in crate::gpu) fn sums(&self) -> EpochSums {
        EpochSums { loss: self.loss.to_f64(), count: self.count.into(), correct: self.correct.into() }
    }

    /// The error for lanes out of the order that the exchange needs, or for a row beyond the driver's limit on loops.
    pub(in crate::gpu) fn check(&self, gpu: &Gpu) -> Result<()> {
        if self.flags & FLAG_SCATTERED != 0 {
            return Err(Error::Gpu {
                device: gpu.name().into(),
                operation: "merging subgroups".into(),
                message: "their lanes do not lie side by side; set GpuOptions::exchange to Exchange::Workgroup".into(),
            });
        }
        if self.flags & FLAG_TOO_LONG == 0 {
            return Ok(());
        }
        let limit = gpu.description().loop_limit().unwrap_or(u32::MAX).into();
        let what = "steps of a loop over the pairs of one row's labels (got: its labels)";
        Err(Error::DeviceLimit { what, limit, got: self.longest.into() })
    }

    /// (name, byte offset) of each member, to be compared with the WGSL struct.
    pub const MEMBERS: &'static [(&'static str, usize)] = &[
        ("loss", std::mem::offset_of!(Partial, loss)),
        ("weight", std::mem::offset_of!(Partial, weight)),
        ("count", std::mem::offset_of!(Partial, count)),
        ("active_count", std::mem::offset_of!(Partial, active_count)),
        ("correct", std::mem::offset_of!(Partial, correct)),
        ("flags", std::mem::offset_of!(Partial, flags)),
        ("longest", std::mem::offset_of!(Partial, longest)),
        ("bad_target", std::mem::offset_of!(Partial, bad_target)),
        ("bad_weight", std::mem::offset_of!(Partial, bad_weight)),
    ];
}
