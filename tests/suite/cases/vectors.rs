//! The cases of the losses with two or three vectors per sample, and the f64 reference's answer for each.

use maxmargin::reference::{self, Options, Sample};
use maxmargin::{
    Batch, CosineEmbedding, Device, Distance, Error, Evaluation, Floats, Kink, Penalty, Reduction, Request, Targets,
    TripletMargin,
};

use super::{Random, Values, compare};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum VectorsKind {
    Triplet { distance: Distance, swap: bool },
    Cosine,
}

pub(crate) const VECTORS_KINDS: &[VectorsKind] = &[
    VectorsKind::Triplet { distance: Distance::EUCLIDEAN, swap: false },
    VectorsKind::Triplet { distance: Distance::EUCLIDEAN, swap: true },
    VectorsKind::Triplet { distance: Distance::Norm { p: 1.0, epsilon: 0.0 }, swap: true },
    VectorsKind::Triplet { distance: Distance::Norm { p: f64::INFINITY, epsilon: 1e-6 }, swap: false },
    VectorsKind::Triplet { distance: Distance::Norm { p: f64::INFINITY, epsilon: 0.0 }, swap: true },
    VectorsKind::Triplet { distance: Distance::Norm { p: 3.0, epsilon: 1e-6 }, swap: true },
    VectorsKind::Triplet { distance: Distance::Norm { p: 1.5, epsilon: 1e-3 }, swap: false },
    VectorsKind::Triplet { distance: Distance::Cosine, swap: false },
    VectorsKind::Triplet { distance: Distance::Cosine, swap: true },
    VectorsKind::Cosine,
];

#[derive(Clone, Debug)]
pub(crate) struct VectorsCase {
    pub(crate) kind: VectorsKind,
    pub(crate) options: Options,
    pub(crate) reduction: Reduction,
    pub(crate) dimensions: usize,
    /// First, second and third vectors; pairs have no third.
    pub(crate) vectors: [Vec<f32>; 3],
    /// Only pairs have targets.
    pub(crate) targets: Vec<i8>,
    pub(crate) sample_weights: Option<Vec<f32>>,
    /// Vectors and arithmetic in f64 (CPU only).
    pub(crate) double: bool,
}

/// The expected numbers of a case, each with its error bound.
struct Expected {
    losses: Vec<f64>,
    loss_bounds: Vec<f64>,
    gradient: Vec<f64>,
    gradient_bounds: Vec<f64>,
    weight_sum: f64,
    active: u64,
    /// Samples so close to their margin that rounding decides whether they are active.
    undecided: u64,
}

impl VectorsCase {
    pub(crate) fn random(kind: VectorsKind, samples: usize, dimensions: usize, values: Values, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let r = &mut random;
        let options = Options {
            margin: match kind {
                VectorsKind::Triplet { .. } => r.pick(&[1.0, 0.3, 2.5, 0.0]),
                VectorsKind::Cosine => r.pick(&[0.0, 0.25, -0.5]),
            },
            penalty: r.pick(&[Penalty::Linear, Penalty::Linear, Penalty::Squared, Penalty::RENNIE, Penalty::Softplus]),
            kink: r.pick(&[Kink::Zero, Kink::Half, Kink::Active]),
            ..Options::default()
        };
        let is_cosine = !is_norm(kind);
        let swaps = matches!(kind, VectorsKind::Triplet { swap: true, .. });
        let is_highest = matches!(kind, VectorsKind::Triplet { distance: Distance::Norm { p: f64::INFINITY, .. }, .. });
        let draw = |r: &mut Random| {
            let x = values.draw(r);
            // Keeps every squared violation in f32's range, and keeps rounding from choosing between swapped distances
            // or between components.
            let huge = if swaps || is_highest { 1.0 } else { 1e15 };
            let x = if x.is_finite() && x.abs() > 1e15 { x.signum() * huge } else { x };
            // A cosine of an infinite vector is NaN; most samples would be NaN without this.
            if is_cosine && !x.is_finite() && r.below(8) > 0 { 1.0 } else { x }
        };
        let inputs = if kind == VectorsKind::Cosine { 2 } else { 3 };
        let mut vector = |n: usize| {
            let length = if n < inputs { samples * dimensions } else { 0 };
            (0..length).map(|_| draw(r)).collect::<Vec<_>>()
        };
        let mut vectors = [vector(0), vector(1), vector(2)];
        if is_highest {
            // Makes differences exact, so that rounding does not make two of them the largest.
            vectors.iter_mut().flatten().filter(|x| x.abs() < 10.0).for_each(|x| *x = (*x * 4096.0).round() / 4096.0);
        }
        if is_cosine {
            // A zero vector has no direction.
            vectors.iter_mut().for_each(|x| x.iter_mut().step_by(dimensions).for_each(|x| *x += 0.5));
        }
        let targets = if inputs == 2 { (0..samples).map(|_| r.pick(&[-1, 1, 1, -1, 0])).collect() } else { vec![] };
        let fraction = |r: &mut Random| r.unit() as f32;
        let sample_weights =
            (r.below(2) == 0).then(|| (0..samples).map(|_| if r.below(3) == 0 { 0.0 } else { fraction(r) }).collect());
        let reduction = r.pick(&[Reduction::Mean, Reduction::MeanOverCount, Reduction::Sum, Reduction::None]);
        Self { kind, options, reduction, dimensions, vectors, targets, sample_weights, double: false }
    }

    pub(crate) fn samples(&self) -> usize {
        self.vectors[0].len() / self.dimensions
    }

    pub(crate) fn request(&self) -> Request {
        Request::new().reduction(self.reduction).gradient().losses()
    }

    pub(crate) fn evaluate(&self, device: &Device, request: &Request) -> Result<Evaluation, Error> {
        let weights = self.sample_weights.as_ref().map(Floats::from);
        if !self.double {
            return self.evaluate_on(device, self.vectors.each_ref().map(Floats::from), weights, request);
        }
        let doubles = self.vectors.each_ref().map(|x| x.iter().map(|&x| x.into()).collect::<Vec<f64>>());
        self.evaluate_on(device, doubles.each_ref().map(Floats::from), weights, request)
    }

    pub(crate) fn evaluate_on(
        &self,
        device: &Device,
        [first, second, third]: [Floats<'_>; 3],
        weights: Option<Floats<'_>>,
        request: &Request,
    ) -> Result<Evaluation, Error> {
        let weighted = |batch: Batch<'_>, f: &dyn Fn(&Batch<'_>) -> Result<Evaluation, Error>| match weights {
            Some(weights) => f(&batch.sample_weights(weights)),
            None => f(&batch),
        };
        let o = self.options;
        match self.kind {
            VectorsKind::Triplet { distance, swap } => {
                let loss = TripletMargin::new().margin(o.margin).penalty(o.penalty).kink(o.kink);
                let loss = loss.distance(distance).swap(swap);
                weighted(Batch::triplets(first, second, third, self.dimensions), &|batch| {
                    device.evaluate(&loss, batch, request)
                })
            }
            VectorsKind::Cosine => {
                let loss = CosineEmbedding::new().margin(o.margin).penalty(o.penalty).kink(o.kink);
                weighted(Batch::vector_pairs(first, second, self.dimensions, Targets::I8(&self.targets)), &|batch| {
                    device.evaluate(&loss, batch, request)
                })
            }
        }
    }

    /// The reference's answer for one sample, with `moved` added to the margin.
    fn sample(&self, n: usize, moved: f64) -> ([Vec<f64>; 3], Sample) {
        // Epsilon in the precision of the computation.
        let rounded = |x: f64| if self.double { x } else { f64::from(x as f32) };
        let part = |x: &Vec<f32>| x.iter().skip(n * self.dimensions).take(self.dimensions).map(|&x| x.into()).collect();
        let vectors: [Vec<f64>; 3] = self.vectors.each_ref().map(part);
        let [a, p, m] = &vectors;
        let options = Options { margin: rounded(self.options.margin) + moved, ..self.options };
        let sample = match self.kind {
            VectorsKind::Triplet { distance, swap } => {
                let distance = match distance {
                    Distance::Norm { p, epsilon } => Distance::Norm { p, epsilon: rounded(epsilon) },
                    other => other,
                };
                reference::triplet::sample(a, p, m, distance, swap, &options)
            }
            VectorsKind::Cosine => reference::cosine::sample(a, p, f64::from(self.targets[n]), &options),
        };
        (vectors, sample)
    }

    fn expect(&self) -> Expected {
        let (samples, dimensions) = (self.samples(), self.dimensions);
        let epsilon = if self.double { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let blocks = if self.kind == VectorsKind::Cosine { 2 } else { 3 };
        let weight = |n: usize| self.sample_weights.as_ref().map_or(1.0, |w| f64::from(w[n]));
        let weight_sum: f64 = (0..samples).map(weight).sum();
        let divisor = match self.reduction {
            Reduction::Mean => weight_sum,
            Reduction::MeanOverCount => samples as f64,
            _ => 1.0,
        };
        let zeros = || vec![0.0; blocks * samples * dimensions];
        let mut e = Expected {
            losses: vec![],
            loss_bounds: vec![],
            gradient: zeros(),
            gradient_bounds: zeros(),
            weight_sum,
            active: 0,
            undecided: 0,
        };
        for n in 0..samples {
            let (vectors, sample) = self.sample(n, 0.0);
            let (reach, roundings) = reach(self.kind, &vectors);
            let violation_reach = self.options.margin.abs() + reach;
            let curvature = match self.options.penalty {
                Penalty::Squared => 2.0 * violation_reach,
                _ => 1.0,
            };
            let phi_reach =
                if self.options.penalty == Penalty::Squared { violation_reach.powi(2) } else { violation_reach + 1.0 };
            let of_distance = roundings * epsilon * violation_reach;
            e.losses.push(weight(n) * sample.loss);
            e.loss_bounds.push(weight(n) * (curvature * of_distance + 8.0 * epsilon * phi_reach) + 1e-37);
            e.active += u64::from(sample.active);
            // Slopes: at most the penalty's slope times the direction's, which is 1 (norms) or the inverse of a length.
            let largest = sample.gradient.iter().fold(0.0, |m: f64, g| if g.is_finite() { m.max(g.abs()) } else { m });
            let bend = match self.options.penalty {
                Penalty::Squared => 2.0,
                Penalty::Softplus => 0.25,
                Penalty::Smooth { gamma, scale } => scale / gamma,
                _ => 0.0,
            };
            // Rounding decides samples this close to the margin. A pair that belongs together has no margin.
            let is_active = |moved: f64| self.sample(n, moved).1.active;
            let is_together = self.targets.get(n) == Some(&1) && sample.loss.is_finite() && {
                let cosine = reference::cosine::sample(&vectors[0], &vectors[1], 1.0, &Options::default());
                cosine.loss <= of_distance
            };
            let near = is_together || is_active(of_distance) != is_active(-of_distance);
            e.undecided += u64::from(near);
            // The slopes of a cosine are differences of such slopes.
            let unit = unit(self.kind, &vectors);
            let terms = if is_norm(self.kind) { largest } else { largest.max(unit * curvature.max(1.0)) };
            let of_slope = 64.0 * epsilon * terms + bend * of_distance * unit;
            let factor = weight(n) / divisor;
            for block in 0..blocks {
                for d in 0..dimensions {
                    let element = (block * samples + n) * dimensions + d;
                    let g = sample.gradient[block * dimensions + d];
                    e.gradient[element] = if g == 0.0 && factor == 0.0 { 0.0 } else { g * factor };
                    e.gradient_bounds[element] = if near { f64::INFINITY } else { factor * of_slope + 1e-37 };
                }
            }
        }
        e
    }
}

/// The size of the terms before anything cancels, and how often they are rounded.
fn reach(kind: VectorsKind, vectors: &[Vec<f64>; 3]) -> (f64, f64) {
    let VectorsKind::Triplet { distance: Distance::Norm { p, epsilon }, .. } = kind else { return (3.0, 8.0) };
    let finite = |x: &Vec<f64>| x.iter().filter(|x| x.is_finite()).map(|x| x.abs() + epsilon).collect::<Vec<_>>();
    let length = |x: &Vec<f64>| {
        let x = finite(x);
        let highest = x.iter().fold(f64::MIN_POSITIVE, |m: f64, &x| m.max(x));
        if p == f64::INFINITY {
            highest
        } else {
            highest * x.iter().map(|x| (x / highest).powf(p)).sum::<f64>().powf(1.0 / p)
        }
    };
    // Powers and roots other than the square use a logarithm, which is accurate to 2^-21 near 1.
    let roundings = if [1.0, 2.0, f64::INFINITY].contains(&p) { 8.0 } else { 16.0 };
    (2.0 * vectors.iter().map(length).sum::<f64>(), roundings)
}

fn is_norm(kind: VectorsKind) -> bool {
    matches!(kind, VectorsKind::Triplet { distance: Distance::Norm { .. }, .. })
}

/// The largest slope of a distance with respect to a component.
fn unit(kind: VectorsKind, vectors: &[Vec<f64>; 3]) -> f64 {
    let shortest = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-6);
    match kind {
        VectorsKind::Triplet { distance: Distance::Norm { .. }, .. } => 1.0,
        _ => vectors.iter().filter(|x| !x.is_empty()).map(|x| 2.0 / shortest(x)).fold(0.0, f64::max),
    }
}

pub(crate) fn check_vectors(case: &VectorsCase, got: &Evaluation) -> Result<(), String> {
    let e = case.expect();
    let samples = case.samples();
    if got.count != samples as u64 || got.correct.is_some() {
        return Err(format!("count {}, correct {:?}", got.count, got.correct));
    }
    // A distance of few components may equal its margin within the rounding.
    if got.active.abs_diff(e.active) > e.undecided {
        return Err(format!("active {}, expected {}", got.active, e.active));
    }
    compare("weight sum", &[got.weight_sum], &[e.weight_sum], |_| 1e-6 * e.weight_sum)?;
    let divisor = match case.reduction {
        Reduction::Mean => e.weight_sum,
        Reduction::MeanOverCount => samples as f64,
        _ => 1.0,
    };
    if case.reduction != Reduction::None {
        let (sum, bound) = (e.losses.iter().sum::<f64>(), e.loss_bounds.iter().sum::<f64>());
        compare("value", &[got.value.ok_or("no value")?], &[sum / divisor], |_| bound / divisor)?;
    }
    let numbers = |output: &Option<maxmargin::Output>| match output {
        Some(output) => output.to_f64().map_err(|error| error.to_string()),
        None => Err("an output is missing".into()),
    };
    compare("loss", &numbers(&got.losses)?, &e.losses, |i| e.loss_bounds[i])?;
    compare("gradient", &numbers(&got.gradient)?, &e.gradient, |i| e.gradient_bounds[i])
}
