//! Samples of one score and one target each, a vector at a time: loss, gradient, sums and counters in one pass.
//!
//! The compiler made two loops of this, with the losses in the first-level cache between them. Within the cache they
//! read 18 GB/s per core, where this reads 32. A plain sum reads 14 per core from memory, so the difference shows there
//! too. Each kind of output has its own loop, which is not inlined, and the two counters have different types.
//! Otherwise the sums go through memory with each vector, which takes two to three times as long.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::HostReal;
use super::dispatch::{self, Loops};
use super::lanes::{Counts, MOST_LANES, Sum, Vector};
use super::prefetch;
use crate::data::real::Number;
use crate::loss::penalty::{LinearPenalty, with_common_penalty};
use crate::loss::{Elementwise, ElementwiseFormula, EmbeddingFormula, PenaltyShape, Point, Rule, SignedHinge, Terms};

/// Least bytes between the two places, half a run apart, that a run is read from at once; runs too short for that are
/// read from one. Two places read 13 to 20 % faster than one with pages of 4 KiB, and 7 % faster with large pages. Four
/// were no faster than two, and two within a page were slower.
pub(super) const APART: usize = 16 << 10;

/// Prefetch distance in bytes. Measured on AVX2 (Zen 3), 32 Mi samples of the binary hinge forward on two threads,
/// relative to no prefetch: 256 bytes 0.93, 512 bytes 0.88, 768 bytes 0.90, 4 KiB 0.98.
const AHEAD: usize = 512;

/// A run of samples. All slices have the same length.
pub(super) struct Samples<'a, T> {
    pub(super) formula: ElementwiseFormula,
    pub(super) terms: Terms,
    pub(super) scores: &'a [T],
    pub(super) targets: &'a [T],
    pub(super) weights: Option<&'a [T]>,
    pub(super) losses: Option<&'a mut [T]>,
    pub(super) gradient: Option<&'a mut [T]>,
    /// What the gradient is divided by.
    pub(super) divisor: T,
}

/// Samples whose formula, penalty, weights and outputs are known at compile time, so that no loop has branches.
struct Loop<'a, F, P, T, const WEIGHTS: bool, const LOSSES: bool, const GRADIENT: bool> {
    samples: Samples<'a, T>,
    penalty: P,
    formula: PhantomData<F>,
}

pub(super) struct SampleSums {
    pub(super) loss: f64,
    pub(super) active: u64,
    pub(super) correct: u64,
    pub(super) has_bad_target: bool,
}

impl<T: HostReal> Samples<'_, T> {
    #[inline]
    pub(super) fn sums(self) -> SampleSums {
        dispatch::loops(self)
    }

    #[inline(always)]
    fn with_penalty<S: Simd, F: Elementwise, P: PenaltyShape>(self, simd: S, penalty: P) -> SampleSums {
        if self.weights.is_some() {
            self.with_weights::<S, F, P, true>(simd, penalty)
        } else {
            self.with_weights::<S, F, P, false>(simd, penalty)
        }
    }

    #[inline(always)]
    fn with_weights<S: Simd, F: Elementwise, P: PenaltyShape, const W: bool>(self, simd: S, penalty: P) -> SampleSums {
        match (self.losses.is_some(), self.gradient.is_some()) {
            (false, false) => Loop::<F, P, T, W, false, false>::new(self, penalty).sums(simd),
            (false, true) => Loop::<F, P, T, W, false, true>::new(self, penalty).sums(simd),
            (true, false) => Loop::<F, P, T, W, true, false>::new(self, penalty).sums(simd),
            (true, true) => Loop::<F, P, T, W, true, true>::new(self, penalty).sums(simd),
        }
    }
}

impl<T: HostReal> Loops for Samples<'_, T> {
    type Output = SampleSums;
    const WIDE: bool = T::COMMON;

    #[inline(always)]
    fn on_vectors<S: Simd>(self, simd: S) -> SampleSums {
        match self.formula {
            ElementwiseFormula::Signed => with_common_penalty!(self.terms.penalty, T::COMMON, penalty => {
                self.with_penalty::<S, SignedHinge, _>(simd, penalty)
            }),
            ElementwiseFormula::Embedding => self.with_penalty::<S, EmbeddingFormula, _>(simd, LinearPenalty),
        }
    }

    fn on_baseline<S: Simd>(self, simd: S) -> SampleSums {
        let penalty = self.terms.penalty;
        match self.formula {
            ElementwiseFormula::Signed => self.with_penalty::<S, SignedHinge, _>(simd, penalty),
            ElementwiseFormula::Embedding => self.with_penalty::<S, EmbeddingFormula, _>(simd, penalty),
        }
    }
}

impl<'a, F: Elementwise, P: PenaltyShape, T: HostReal, const W: bool, const O: bool, const G: bool>
    Loop<'a, F, P, T, W, O, G>
{
    #[inline(always)]
    fn new(samples: Samples<'a, T>, penalty: P) -> Self {
        Self { samples, penalty, formula: PhantomData }
    }

    /// Not inlined: within a larger function the compiler keeps the sums in memory.
    #[inline(never)]
    fn sums<S: Simd>(self, simd: S) -> SampleSums {
        simd.vectorize(self)
    }
}

impl<F: Elementwise, P: PenaltyShape, T: HostReal, const W: bool, const O: bool, const G: bool> WithSimd
    for Loop<'_, F, P, T, W, O, G>
{
    type Output = SampleSums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> SampleSums {
        let samples = self.samples;
        let rule = Rule::<T, P>::new(samples.terms.margin, samples.terms.kink, self.penalty);
        let mut walk = Walk::<S, T::Lanes<S>, P>::new(simd, &rule, samples.divisor);
        let (scores, rest_of_scores) = T::Lanes::vectors(samples.scores);
        let (targets, rest_of_targets) = T::Lanes::vectors(samples.targets);
        let (weights, rest_of_weights) = T::Lanes::vectors(samples.weights.unwrap_or_default());
        let (losses, rest_of_losses) = T::Lanes::vectors_mut(samples.losses.unwrap_or_default());
        let (gradient, rest_of_gradient) = T::Lanes::vectors_mut(samples.gradient.unwrap_or_default());
        // Slices of the loop's length, so that it needs no bounds checks.
        let count = scores.len();
        let all = Vectors {
            scores,
            targets: &targets[..count],
            weights: &weights[..if W { count } else { 0 }],
            losses: &mut losses[..if O { count } else { 0 }],
            gradient: &mut gradient[..if G { count } else { 0 }],
        };
        let half = if size_of_val(scores) >= 2 * APART { count / 2 } else { 0 };
        let (mut first, rest) = all.split_at(half);
        let (mut second, mut last) = rest.split_at(half);
        for i in 0..half {
            walk.visit_at::<F, W, O, G>(&mut first, i);
            walk.visit_at::<F, W, O, G>(&mut second, i);
        }
        for i in 0..last.scores.len() {
            walk.visit_at::<F, W, O, G>(&mut last, i);
        }
        let rest = rest_of_scores.len();
        if rest > 0 {
            let part = |slice: &[T]| T::Lanes::load_part(simd, slice);
            let is_sample = part(&[T::ONE; MOST_LANES][..rest]).equals(T::Lanes::all(simd, T::ONE));
            let weight = W.then(|| part(rest_of_weights));
            let (score, target) = (part(rest_of_scores), part(rest_of_targets));
            let (value, slope) = walk.visit::<F>(score, target, weight, Some(is_sample));
            if O {
                value.store_part(rest_of_losses);
            }
            if G {
                slope.store_part(rest_of_gradient);
            }
        }
        walk.sums::<F>()
    }
}

/// Samples as whole vectors. The slices of absent inputs and outputs are empty; the others have the same length.
struct Vectors<'a, V> {
    scores: &'a [V],
    targets: &'a [V],
    weights: &'a [V],
    losses: &'a mut [V],
    gradient: &'a mut [V],
}

impl<V> Vectors<'_, V> {
    #[inline(always)]
    fn prefetch(&self, i: usize) {
        for read in [self.scores, self.targets, self.weights] {
            if !read.is_empty() {
                prefetch::ahead_of(read, i, AHEAD);
            }
        }
    }

    #[inline(always)]
    fn split_at(self, middle: usize) -> (Self, Self) {
        let at = |len: usize| middle.min(len);
        let (scores, later_scores) = self.scores.split_at(at(self.scores.len()));
        let (targets, later_targets) = self.targets.split_at(at(self.targets.len()));
        let (weights, later_weights) = self.weights.split_at(at(self.weights.len()));
        let at_losses = at(self.losses.len());
        let (losses, later_losses) = self.losses.split_at_mut(at_losses);
        let at_gradient = at(self.gradient.len());
        let (gradient, later_gradient) = self.gradient.split_at_mut(at_gradient);
        (
            Self { scores, targets, weights, losses, gradient },
            Self {
                scores: later_scores,
                targets: later_targets,
                weights: later_weights,
                losses: later_losses,
                gradient: later_gradient,
            },
        )
    }
}

/// The constants and the running sums of a loop over samples.
struct Walk<S: Simd, V: Vector<S>, P> {
    simd: S,
    rule: Rule<V, P>,
    divisor: V,
    reciprocal: V,
    /// For labels, the bits set in any target and in every target. For others, `any_target` is 0 if all are finite.
    any_target: V,
    all_targets: V,
    sum: Sum<S>,
    counts: Counts<S>,
}

impl<S: Simd, V: Vector<S>, P: PenaltyShape> Walk<S, V, P> {
    #[inline(always)]
    fn new(simd: S, rule: &Rule<V::Element, P>, divisor: V::Element) -> Self {
        let divisor = V::all(simd, divisor);
        Self {
            simd,
            rule: rule.splat(divisor),
            divisor,
            reciprocal: divisor.splat(1.0) / divisor,
            any_target: divisor.splat(0.0),
            all_targets: divisor.splat(1.0),
            sum: Sum::new(simd),
            counts: Counts::new(simd),
        }
    }

    #[inline(always)]
    fn visit_at<F: Elementwise, const W: bool, const O: bool, const G: bool>(
        &mut self,
        vectors: &mut Vectors<'_, V::Raw>,
        i: usize,
    ) {
        vectors.prefetch(i);
        let vector = |raw| V::new(self.simd, raw);
        let weight = W.then(|| vector(vectors.weights[i]));
        let (score, target) = (vector(vectors.scores[i]), vector(vectors.targets[i]));
        let (value, slope) = self.visit::<F>(score, target, weight, None);
        if O {
            vectors.losses[i] = value.raw();
        }
        if G {
            vectors.gradient[i] = slope.raw();
        }
    }

    /// Losses and gradient of one vector of samples. If `is_sample` is given, only its true lanes count.
    #[inline(always)]
    fn visit<F: Elementwise>(&mut self, score: V, target: V, weight: Option<V>, is_sample: Option<V::Mask>) -> (V, V) {
        let Point { mut value, slope, mut active, mut correct } = F::value_and_slope(&self.rule, score, target);
        let zero = score.splat(0.0);
        let mut checked = target;
        if let Some(is_sample) = is_sample {
            value = V::select(is_sample, value, zero);
            (active, correct) = (active & is_sample, correct & is_sample);
            checked = V::select(is_sample, target, zero.splat(1.0));
        }
        // Labels must be -1 or +1; other targets must be finite.
        if F::LABELS {
            self.any_target = self.any_target.either_bits(checked);
            self.all_targets = self.all_targets.both_bits(checked);
        } else {
            // 0, or NaN where the target is not finite.
            self.any_target = self.any_target.either_bits(checked + -checked);
        }
        V::count([active, correct], &mut self.counts);
        let (value, factor) = match weight {
            // A sum of tiny weights can have an infinite reciprocal, so the weight is divided directly.
            Some(weight) => (value * weight, weight / self.divisor),
            None => (value, self.reciprocal),
        };
        value.add_to(&mut self.sum);
        (value, slope * factor)
    }

    #[inline(always)]
    fn sums<F: Elementwise>(self) -> SampleSums {
        let [active, correct] = self.counts.totals();
        let has_bad_target = if F::LABELS {
            // Labels have all bits of 1, and no other bit but the sign.
            let any = self.any_target.either_bits(self.any_target.splat(1.0));
            any.other_than_sign().either_bits(self.all_targets.other_than_sign()).has_bits()
        } else {
            self.any_target.has_bits()
        };
        SampleSums { loss: self.sum.total(), active, correct, has_bad_target }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::dispatch::on_every_width;
    use crate::loss::{Kink, Penalty};

    /// Samples to evaluate with every instruction set and one number at a time.
    struct Case<'a, T> {
        formula: ElementwiseFormula,
        scores: &'a [T],
        targets: &'a [T],
        weights: Option<&'a [T]>,
    }

    type Found<T> = (SampleSums, Vec<T>, Vec<T>);

    impl<T: HostReal> Case<'_, T> {
        /// The embedding's formula is defined for its own penalty only.
        fn terms(&self) -> Terms {
            let penalty = match self.formula {
                ElementwiseFormula::Signed => Penalty::Smooth { gamma: 0.5, scale: 2.0 },
                ElementwiseFormula::Embedding => Penalty::Linear,
            };
            Terms { margin: 0.75, penalty, kink: Kink::Half }
        }

        fn one_at_a_time(&self) -> Found<T> {
            let mut sums = SampleSums { loss: 0.0, active: 0, correct: 0, has_bad_target: false };
            let (mut losses, mut gradient) = (Vec::new(), Vec::new());
            let terms = self.terms();
            let rule = Rule::new(terms.margin, terms.kink, terms.penalty);
            for (i, (&score, &target)) in self.scores.iter().zip(self.targets).enumerate() {
                let point = match self.formula {
                    ElementwiseFormula::Signed => SignedHinge::value_and_slope(&rule, score, target),
                    ElementwiseFormula::Embedding => EmbeddingFormula::value_and_slope(&rule, score, target),
                };
                let weight = self.weights.map_or(T::ONE, |weights| weights[i]);
                losses.push(point.value * weight);
                gradient.push(point.slope * (weight / T::from_f64(3.0)));
                sums.loss += (point.value * weight).to_f64();
                sums.active += u64::from(point.active);
                sums.correct += u64::from(point.correct);
                sums.has_bad_target |= !(target == T::ONE || target == -T::ONE);
            }
            (sums, losses, gradient)
        }

        fn check(&self, case: &str) {
            let expected = self.one_at_a_time();
            on_every_width(self).iter().for_each(|found| compare(&expected, found, case));
        }
    }

    impl<T: HostReal> WithSimd for &Case<'_, T> {
        type Output = Found<T>;
        fn with_simd<S: Simd>(self, simd: S) -> Found<T> {
            let count = self.scores.len();
            let run = |losses: Option<&mut [T]>, gradient: Option<&mut [T]>| {
                let &Case { formula, scores, targets, weights } = self;
                let (terms, divisor) = (self.terms(), T::from_f64(3.0));
                Samples { formula, terms, scores, targets, weights, losses, gradient, divisor }.on_vectors(simd)
            };
            let (mut losses, mut gradient) = (vec![T::NAN; count], vec![T::NAN; count]);
            let sums = run(Some(&mut losses), Some(&mut gradient));
            // The loops for other outputs find the same.
            let (mut alone, mut alone_gradient) = (vec![T::ZERO; count], vec![T::ZERO; count]);
            for other in [run(None, None), run(Some(&mut alone), None), run(None, Some(&mut alone_gradient))] {
                assert_eq!(other.loss.to_bits(), sums.loss.to_bits());
                assert_eq!((other.active, other.correct), (sums.active, sums.correct));
                assert_eq!(other.has_bad_target, sums.has_bad_target);
            }
            assert_eq!(format!("{alone:?} {alone_gradient:?}"), format!("{losses:?} {gradient:?}"));
            (sums, losses, gradient)
        }
    }

    fn compare<T: HostReal>(expected: &Found<T>, got: &Found<T>, case: &str) {
        let same = |x: f64, y: f64| x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-6 * x.abs().max(1.0);
        assert!(same(expected.0.loss, got.0.loss), "{case}: sum {} and {}", expected.0.loss, got.0.loss);
        assert_eq!(expected.0.active, got.0.active, "{case}: active");
        assert_eq!(expected.0.correct, got.0.correct, "{case}: correct");
        assert_eq!(expected.0.has_bad_target, got.0.has_bad_target, "{case}: bad targets");
        for (what, expected, got) in [("loss", &expected.1, &got.1), ("gradient", &expected.2, &got.2)] {
            assert_eq!(expected.len(), got.len());
            for (i, (x, y)) in expected.iter().zip(got).enumerate() {
                assert!(same(x.to_f64(), y.to_f64()), "{case}: {what}[{i}] {x:?} and {y:?}");
            }
        }
    }

    fn every_width_of<T: HostReal>() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 33
        };
        let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 0.75, -0.75, 1e-45];
        // From 8192 samples on (f64: 4096) a run is read from two places.
        for count in (0..70).chain([255, 256, 257, 1000, 4107, 8201, 8219]) {
            // Few distinct values, so that kinks and zeros are common. Half of the cases hold a special value.
            let mut scores: Vec<T> = (0..count).map(|_| T::from_f64((next() % 17) as f64 / 8.0 - 1.0)).collect();
            let mut targets: Vec<T> = scores.iter().map(|_| T::from_f64((next() % 2) as f64 * 2.0 - 1.0)).collect();
            if count > 0 && next() % 2 == 0 {
                scores[next() as usize % count] = T::from_f64(special[next() as usize % special.len()]);
            }
            let weights: Vec<T> = scores.iter().map(|_| T::from_f64((next() % 4) as f64)).collect();
            for weights in [None, Some(&weights[..])] {
                let (scores, targets) = (&scores[..], &targets[..]);
                Case { formula: ElementwiseFormula::Signed, scores, targets, weights }
                    .check(&format!("signed, {count}"));
                let formula = ElementwiseFormula::Embedding;
                Case { formula, scores, targets, weights }.check(&format!("embedding, {count}"));
            }
            if count > 0 {
                let bads = [0.0, 2.0, 0.5, -0.5, -3.0, 1e-45, f64::NAN, f64::INFINITY, 1.0 + 1.2e-7, 1.0 - 6e-8];
                let bad = bads[next() as usize % bads.len()];
                targets[next() as usize % count] = T::from_f64(bad);
                let weights = None;
                let formula = ElementwiseFormula::Signed;
                let case = Case { formula, scores: &scores, targets: &targets, weights };
                for (sums, ..) in on_every_width(&case) {
                    assert!(sums.has_bad_target, "{bad} of {count}");
                }
            }
        }
    }

    #[test]
    fn every_width_agrees_with_single_numbers() {
        every_width_of::<f32>();
        every_width_of::<f64>();
    }

    #[test]
    #[should_panic(expected = "gradient[1]")]
    fn another_gradient_is_seen() {
        let sums = || SampleSums { loss: 1.0, active: 1, correct: 1, has_bad_target: false };
        compare(&(sums(), vec![1.0], vec![0.5, 0.25]), &(sums(), vec![1.0], vec![0.5, -0.25]), "a case");
    }
}
