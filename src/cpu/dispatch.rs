//! The choice of instruction set at run time. A loop, vectorised by the compiler or by hand, is compiled for each.
//!
//! Each version costs build time, so a job says which ones it gains from. Only f32 uses 512-bit vectors, and a machine
//! without vectors has one loop for all penalties ([`Loops`]).

use pulp::{NullaryFnOnce, Simd, WithSimd};

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub(super) use machine::avx2;
pub(crate) use machine::{dispatch, vectorize};
pub(super) use machine::{loops, vectorize_wide};

/// A job with separate loops for machines with vectors, where speed counts, and for the baseline, where code size does.
pub(super) trait Loops: Sized {
    type Output;
    /// Whether 512-bit vectors make it faster.
    const WIDE: bool;
    fn on_vectors<S: Simd>(self, simd: S) -> Self::Output;
    fn on_baseline<S: Simd>(self, simd: S) -> Self::Output;
}

/// A closure as a job, called by reference. By value, the compiler calls it through a separate function. Unless that
/// happens to be inlined, its loops are compiled for the baseline.
struct Called<F>(F);

impl<R, F: FnMut() -> R> NullaryFnOnce for Called<F> {
    type Output = R;

    #[inline(always)]
    fn call(mut self) -> R {
        (self.0)()
    }
}

/// The results of a job: first one number at a time, then with each instruction set that the machine has.
#[cfg(test)]
pub(super) fn on_every_width<F: WithSimd + Copy>(job: F) -> Vec<F::Output> {
    let mut results = vec![job.with_simd(pulp::Scalar::new()), pulp::Arch::new().dispatch(job)];
    #[cfg(target_arch = "x86_64")]
    {
        results.extend(pulp::x86::V3::try_new().map(|simd| pulp::Simd::vectorize(simd, job)));
        results.extend(pulp::x86::V4::try_new().map(|simd| pulp::Simd::vectorize(simd, job)));
    }
    results
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod machine {
    use std::sync::OnceLock;

    use pulp::x86::{V3, V4};
    use pulp::{Scalar, Simd};

    use super::{Called, Loops, WithSimd};

    /// 256-bit (AVX2 with FMA) and 512-bit vectors (AVX-512). Detected once: detection takes as long as a small batch.
    fn widths() -> (Option<V3>, Option<V4>) {
        static WIDTHS: OnceLock<(Option<V3>, Option<V4>)> = OnceLock::new();
        *WIDTHS.get_or_init(|| (V3::try_new(), V4::try_new()))
    }

    #[inline(always)]
    pub(crate) fn avx2() -> Option<V3> {
        widths().0
    }

    /// Runs a job with 256-bit vectors if the machine has them, else with the target's baseline.
    #[inline(always)]
    pub(crate) fn dispatch<R>(mut job: impl FnMut() -> R) -> R {
        match widths().0 {
            Some(simd) => simd.vectorize(Called(job)),
            None => job(),
        }
    }

    /// As [`dispatch`], for a job written in vectors.
    #[inline(always)]
    pub(crate) fn vectorize<F: WithSimd>(job: F) -> F::Output {
        match widths().0 {
            Some(simd) => Simd::vectorize(simd, job),
            None => job.with_simd(Scalar::new()),
        }
    }

    /// Runs a job's loops for vectors if the machine has them, else those for the target's baseline.
    #[inline(always)]
    pub(crate) fn loops<J: Loops>(job: J) -> J::Output {
        match widths() {
            (_, Some(simd)) if J::WIDE => job.on_vectors(simd),
            (Some(simd), _) => job.on_vectors(simd),
            _ => job.on_baseline(Scalar::new()),
        }
    }

    /// As [`vectorize`], also with 512-bit vectors.
    #[inline(always)]
    pub(crate) fn vectorize_wide<F: WithSimd>(job: F) -> F::Output {
        match widths() {
            (_, Some(simd)) => Simd::vectorize(simd, job),
            (Some(simd), None) => Simd::vectorize(simd, job),
            (None, None) => job.with_simd(Scalar::new()),
        }
    }
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
mod machine {
    use pulp::Arch;

    use super::{Called, Loops, Simd, WithSimd};

    /// Runs a job with the target's vectors (NEON), else with its baseline.
    #[inline(always)]
    pub(crate) fn dispatch<R>(job: impl FnMut() -> R) -> R {
        Arch::new().dispatch(Called(job))
    }

    /// As [`dispatch`], for a job written in vectors.
    #[inline(always)]
    pub(crate) fn vectorize<F: WithSimd>(job: F) -> F::Output {
        Arch::new().dispatch(job)
    }

    pub(crate) use vectorize as vectorize_wide;

    /// As [`vectorize`], with the job's loops for vectors.
    #[inline(always)]
    pub(crate) fn loops<J: Loops>(job: J) -> J::Output {
        struct OnVectors<J>(J);

        impl<J: Loops> WithSimd for OnVectors<J> {
            type Output = J::Output;

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) -> J::Output {
                self.0.on_vectors(simd)
            }
        }

        Arch::new().dispatch(OnVectors(job))
    }
}
