//! The case table: loss x options x sizes x kinds of values, and the f64 reference's answer for each case.

mod check;
mod expect;
pub(crate) mod vectors;

use crate::harness::goes_through_all;
pub(crate) use check::{check, compare};
use maxmargin::loss::{Loss, RowsLoss};
use maxmargin::reference::Options;
use maxmargin::{
    Batch, BinaryHinge, CategoricalHinge, CrammerSinger, Device, EmbeddingHinge, Error, Evaluation, Floats, Kink,
    LabelEncoding, LeeLinWahba, ListwiseHinge, LovaszHinge, MarginRanking, MulticlassHinge, MultilabelMargin, OneVsAll,
    OverClasses, OverItems, Penalty, Reduction, Request, Targets, Ties, TopK, WestonWatkins,
};

/// A small generator that gives every run the same cases.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub(crate) fn draw(&mut self) -> u64 {
        // xorshift64* (Vigna, 2016).
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.draw() % n as u64) as usize
    }
    pub(crate) fn unit(&mut self) -> f64 {
        self.draw() as f64 / (1u64 << 53) as f64
    }
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Values {
    /// Spread over a few margins.
    Plain,
    /// Multiples of 1/8 below 4: sums are exact, ties and exact kinks are common.
    Dyadic,
    /// NaN, infinities, -0, huge and overflowing values among plain ones.
    Spicy,
    /// Too large for the finite arithmetic but far from overflow.
    Large,
}

impl Values {
    pub(crate) fn draw(self, random: &mut Random) -> f32 {
        match self {
            Values::Plain => (random.unit() * 6.0 - 3.0) as f32,
            Values::Dyadic => random.below(64) as f32 / 8.0 - 4.0,
            Values::Large => (random.unit() * 2e10 - 1e10) as f32,
            Values::Spicy => match random.below(24) {
                0 => f32::NAN,
                1 | 2 => f32::INFINITY,
                3 | 4 => f32::NEG_INFINITY,
                5 => -0.0,
                6 => 3e38,
                7 => -3e38,
                8 => 1e20,
                9 => -1e20,
                _ => (random.unit() * 6.0 - 3.0) as f32,
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Binary(LabelEncoding),
    Embedding,
    Ranking,
    CrammerSinger,
    WestonWatkins,
    OneVsAll,
    LeeLinWahba,
    TopK,
    Multilabel,
    /// One class index per row.
    CategoricalIndices,
    /// One target per class.
    CategoricalMatrix,
    Listwise,
    Lovasz(LabelEncoding),
}

impl Kind {
    pub(crate) fn is_rows(self) -> bool {
        self.is_multiclass() || self.has_target_rows() || self == Kind::CategoricalIndices
    }

    /// Whether this is a multiclass hinge, which has class weights and ignored rows.
    pub(crate) fn is_multiclass(self) -> bool {
        matches!(self, Kind::CrammerSinger | Kind::WestonWatkins | Kind::OneVsAll | Kind::LeeLinWahba | Kind::TopK)
    }

    pub(crate) fn takes_margin_matrix(self) -> bool {
        matches!(self, Kind::CrammerSinger | Kind::WestonWatkins | Kind::TopK)
    }

    pub(crate) fn has_target_rows(self) -> bool {
        matches!(self, Kind::Multilabel | Kind::CategoricalMatrix) || self.is_list()
    }

    /// Whether a sample is a list whose items are compared with each other.
    pub(crate) fn is_list(self) -> bool {
        matches!(self, Kind::Listwise | Kind::Lovasz(_))
    }

    pub(crate) fn is_zero_one(self) -> bool {
        matches!(self, Kind::Binary(LabelEncoding::ZeroOne) | Kind::Lovasz(LabelEncoding::ZeroOne))
    }

    /// The number of samples with so many columns: fewer where a sample takes one step per pair of its items.
    pub(crate) fn samples(self, samples: usize, columns: usize) -> usize {
        if self == Kind::Listwise { samples.min((30_000_000 / (columns * columns)).max(1)) } else { samples }
    }
}

pub(crate) const KINDS: &[Kind] = &[
    Kind::Binary(LabelEncoding::PlusMinusOne),
    Kind::Binary(LabelEncoding::ZeroOne),
    Kind::Embedding,
    Kind::Ranking,
    Kind::CrammerSinger,
    Kind::WestonWatkins,
    Kind::OneVsAll,
    Kind::LeeLinWahba,
    Kind::TopK,
    Kind::Multilabel,
    Kind::CategoricalIndices,
    Kind::CategoricalMatrix,
    Kind::Listwise,
    Kind::Lovasz(LabelEncoding::PlusMinusOne),
    Kind::Lovasz(LabelEncoding::ZeroOne),
];

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) options: Options,
    pub(crate) reduction: Reduction,
    pub(crate) columns: usize,
    pub(crate) scores: Vec<f32>,
    /// The second score of each pair (ranking).
    pub(crate) second: Vec<f32>,
    /// Labels, class indices or embedding targets.
    pub(crate) targets: Vec<f32>,
    pub(crate) sample_weights: Option<Vec<f32>>,
    pub(crate) class_weights: Option<Vec<f64>>,
    pub(crate) ignore_index: Option<i64>,
    pub(crate) margin_matrix: Option<Vec<f64>>,
    /// How many violations count (top-k).
    pub(crate) k: usize,
    pub(crate) values: Values,
    /// Scores and arithmetic in f64 (CPU only).
    pub(crate) double: bool,
}

/// The kernels of one loss that a trial on an adapter uses, limited because compiling takes most of the time.
/// `MAXMARGIN_TESTS=all` and the CPU have no limit. `shaders.rs` validates and translates every kernel anyway.
#[derive(Default)]
pub(crate) struct Kernels(Vec<String>);

impl Kernels {
    const MOST: usize = 8;

    /// A random case whose kernel is among the chosen ones.
    pub(crate) fn case(
        &mut self,
        device: &Device,
        kind: Kind,
        (samples, columns): (usize, usize),
        values: Values,
        seed: u64,
    ) -> Case {
        let mut case = Case::random(kind, samples, columns, values, seed);
        if matches!(device, Device::Cpu) || goes_through_all() {
            return case;
        }
        for again in 1..200 {
            let kernel = case.kernel();
            if self.0.contains(&kernel) {
                break;
            }
            if self.0.len() < Self::MOST {
                self.0.push(kernel);
                break;
            }
            case = Case::random(kind, samples, columns, values, seed + 1_000_000 * again);
        }
        case
    }
}

impl Case {
    pub(crate) fn is_rows(&self) -> bool {
        self.kind.is_rows()
    }

    /// The properties of the case that decide which kernel a GPU compiles for it.
    fn kernel(&self) -> String {
        let penalty = std::mem::discriminant(&self.options.penalty);
        let has = [self.sample_weights.is_some(), self.class_weights.is_some(), self.margin_matrix.is_some()];
        format!("{penalty:?} {:?} {has:?} {}", self.options.ties, self.reduction == Reduction::None)
    }

    pub(crate) fn random(kind: Kind, samples: usize, columns: usize, values: Values, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let r = &mut random;
        let dyadic = values == Values::Dyadic;
        let options = Options {
            margin: if dyadic { r.pick(&[1.0, 0.5, 2.0, 0.0]) } else { r.pick(&[1.0, 0.3, 2.5, 0.0]) },
            penalty: r.pick(&[
                Penalty::Linear,
                Penalty::Squared,
                Penalty::Linear,
                Penalty::Squared,
                Penalty::RENNIE,
                Penalty::MODIFIED_HUBER,
                Penalty::smooth(if dyadic { 0.5 } else { 0.3 }),
                Penalty::Softplus,
            ]),
            kink: r.pick(&[Kink::Zero, Kink::Half, Kink::Active]),
            ties: r.pick(&[Ties::First, Ties::Split]),
            over_classes: match kind {
                Kind::WestonWatkins | Kind::OneVsAll | Kind::LeeLinWahba | Kind::Multilabel | Kind::Listwise
                    if !dyadic =>
                {
                    r.pick(&[OverClasses::Sum, OverClasses::Mean])
                }
                _ => OverClasses::Sum,
            },
        };
        let mut case = Self {
            kind,
            options,
            reduction: r.pick(&[Reduction::Mean, Reduction::MeanOverCount, Reduction::Sum, Reduction::None]),
            columns: 1,
            scores: vec![],
            second: vec![],
            targets: vec![],
            sample_weights: None,
            class_weights: None,
            ignore_index: None,
            margin_matrix: None,
            k: 1,
            values,
            double: false,
        };
        if case.is_rows() {
            case.columns = columns;
        }
        if kind == Kind::LeeLinWahba && dyadic {
            // A multiple of C - 1, because this loss divides the margin by it.
            case.options.margin *= (columns - 1) as f64;
        }
        let columns = case.columns;
        case.scores = (0..samples * columns).map(|_| values.draw(r)).collect();
        if kind == Kind::CategoricalMatrix && values == Values::Spicy {
            // Sums of huge and small scores are not exact in f64 either: another order of terms may give another sign.
            // Powers of two among zeros sum exactly.
            let is_huge = |s: f32| s.is_finite() && s.abs() > 1e10;
            for row in case.scores.chunks_exact_mut(columns).filter(|row| row.iter().any(|&s| is_huge(s))) {
                for s in row.iter_mut().filter(|s| s.is_finite()) {
                    *s = if is_huge(*s) { s.signum() * 2f32.powi(127) } else { 0.0 };
                }
            }
        }
        if kind == Kind::Ranking {
            case.second = (0..samples).map(|_| values.draw(r)).collect();
        }
        let weight = |r: &mut Random| {
            let fraction = r.unit() as f32;
            if dyadic { r.below(4) as f32 / 2.0 } else { r.pick(&[0.0, fraction, 1.5]) }
        };
        if r.below(2) == 0 {
            case.sample_weights = Some((0..samples).map(|_| weight(r)).collect());
        }
        if kind.is_multiclass() && r.below(2) == 0 {
            case.class_weights = Some((0..columns).map(|_| f64::from(weight(r))).collect());
        }
        if kind.is_multiclass() && r.below(2) == 0 {
            case.ignore_index = Some(r.pick(&[-100, 0]));
        }
        if kind.takes_margin_matrix() && columns < 300 && r.below(2) == 0 {
            // The diagonal is never used.
            let margin = |i: usize, r: &mut Random| match i % (columns + 1) {
                0 => f64::NAN,
                _ if dyadic => r.below(16) as f64 / 4.0,
                _ => r.unit() * 3.0,
            };
            case.margin_matrix = Some((0..columns * columns).map(|i| margin(i, r)).collect());
        }
        if kind == Kind::TopK {
            // Dividing by a power of two does not round; the square of a larger one would not fit 24 bits.
            case.k = if dyadic {
                1 << r.below((columns.ilog2() as usize + 1).min(4))
            } else {
                1 + r.below(columns.min(100))
            };
        }
        if case.margin_matrix.is_some() || kind == Kind::TopK {
            // Rivals whose violations overflow tie in f32 but not in f64.
            case.scores.iter_mut().filter(|s| s.is_finite() && s.abs() > 1e30).for_each(|s| *s = s.signum() * 1e20);
        }
        if kind == Kind::Listwise {
            // Makes differences of scores exact in f32, so that rounding changes no violation's sign.
            for s in case.scores.iter_mut().filter(|s| s.is_finite()) {
                *s = if s.abs() > 1e30 { s.signum() * 1e20 } else { (*s * 4096.0).round() / 4096.0 };
            }
        }
        if matches!(kind, Kind::Lovasz(_)) {
            // Otherwise a penalty overflows before it is multiplied by a step of the Jaccard loss.
            case.scores.iter_mut().filter(|s| s.is_finite() && s.abs() > 1e15).for_each(|s| *s = s.signum() * 1e15);
        }
        if kind == Kind::TopK {
            // Huge violations of both signs cancel; the small ones' remainder then depends on the order of the sum.
            case.scores.iter_mut().filter(|s| **s < -1e10).for_each(|s| *s = s.abs());
        }
        let width = if kind.has_target_rows() { columns } else { 1 };
        case.targets = (0..samples * width)
            .map(|_| match kind {
                // Few labels per row, some of them twice, and sometimes none.
                Kind::Multilabel if r.below(4) == 0 => -1.0,
                // Few or many different relevances, and padding.
                Kind::Listwise => r.below(if columns.is_multiple_of(2) { 3 } else { 100 }) as f32 - 1.0,
                Kind::CategoricalMatrix => r.below(3) as f32 - 1.0,
                Kind::Binary(LabelEncoding::PlusMinusOne)
                | Kind::Lovasz(LabelEncoding::PlusMinusOne)
                | Kind::Ranking => r.pick(&[-1.0, 1.0]),
                Kind::Binary(LabelEncoding::ZeroOne) | Kind::Lovasz(LabelEncoding::ZeroOne) => r.pick(&[0.0, 1.0]),
                Kind::Embedding => r.pick(&[-1.0, 1.0, 0.0, 0.25]),
                _ if case.ignore_index.is_some() && r.below(4) == 0 => case.ignore_index.unwrap_or(0) as f32,
                _ => r.below(columns) as f32,
            })
            .collect();
        case
    }

    pub(crate) fn request(&self) -> Request {
        Request::new().reduction(self.reduction).gradient().losses()
    }

    pub(crate) fn evaluate(&self, device: &Device, request: &Request) -> Result<Evaluation, Error> {
        if !self.double {
            let batch = self.batch(&self.scores, &self.second, &self.targets, self.sample_weights.as_ref());
            return self.evaluate_batch(device, &batch, request);
        }
        self.evaluate_f64(device, &doubles(&self.scores), request)
    }

    pub(crate) fn evaluate_f64(&self, device: &Device, scores: &[f64], request: &Request) -> Result<Evaluation, Error> {
        let second = doubles(&self.second);
        let batch = self.batch(scores, &second, &self.targets, self.sample_weights.as_ref());
        self.evaluate_batch(device, &batch, request)
    }

    pub(crate) fn batch<'a, F: Into<Floats<'a>>>(
        &self,
        scores: F,
        second: impl Into<Floats<'a>>,
        targets: impl Into<Targets<'a>>,
        weights: Option<impl Into<Floats<'a>>>,
    ) -> Batch<'a> {
        let batch = match self.kind {
            Kind::Ranking => Batch::pairs(scores, second, targets),
            _ if self.is_rows() => Batch::rows(scores, self.columns, targets),
            _ => Batch::new(scores, targets),
        };
        weights.map_or(batch, |weights| batch.sample_weights(weights))
    }

    pub(crate) fn evaluate_batch(
        &self,
        device: &Device,
        batch: &Batch<'_>,
        request: &Request,
    ) -> Result<Evaluation, Error> {
        device.evaluate(&self.loss(), batch, request)
    }

    pub(crate) fn loss(&self) -> Box<dyn Loss> {
        let o = self.options;
        match self.kind {
            Kind::Binary(labels) => {
                Box::new(BinaryHinge::new().margin(o.margin).penalty(o.penalty).kink(o.kink).labels(labels))
            }
            Kind::Embedding => Box::new(EmbeddingHinge::new().margin(o.margin).kink(o.kink)),
            Kind::Ranking => Box::new(MarginRanking::new().margin(o.margin).penalty(o.penalty).kink(o.kink)),
            Kind::Multilabel => {
                let loss = MultilabelMargin::new().margin(o.margin).penalty(o.penalty).kink(o.kink);
                Box::new(loss.over_classes(o.over_classes))
            }
            Kind::CategoricalIndices | Kind::CategoricalMatrix => {
                Box::new(CategoricalHinge::new().margin(o.margin).penalty(o.penalty).kink(o.kink).ties(o.ties))
            }
            Kind::Listwise => {
                let over = if o.over_classes == OverClasses::Mean { OverItems::Mean } else { OverItems::Sum };
                Box::new(ListwiseHinge::new().margin(o.margin).penalty(o.penalty).kink(o.kink).over_items(over))
            }
            Kind::Lovasz(labels) => {
                Box::new(LovaszHinge::new().margin(o.margin).penalty(o.penalty).kink(o.kink).labels(labels))
            }
            Kind::CrammerSinger => self.multiclass(CrammerSinger),
            Kind::WestonWatkins => self.multiclass(WestonWatkins),
            Kind::OneVsAll => self.multiclass(OneVsAll),
            Kind::LeeLinWahba => self.multiclass(LeeLinWahba),
            Kind::TopK => self.multiclass(TopK::new(self.k)),
        }
    }

    fn multiclass<M: RowsLoss>(&self, method: M) -> Box<dyn Loss> {
        let o = self.options;
        let mut loss = MulticlassHinge::with_method(method)
            .margin(o.margin)
            .penalty(o.penalty)
            .kink(o.kink)
            .ties(o.ties)
            .over_classes(o.over_classes);
        if let Some(weights) = &self.class_weights {
            loss = loss.class_weights(weights.clone());
        }
        if let Some(index) = self.ignore_index {
            loss = loss.ignore_index(index);
        }
        if let Some(margins) = &self.margin_matrix {
            loss = loss.margin_matrix(margins.clone());
        }
        Box::new(loss)
    }

    pub(crate) fn largest_margin(&self) -> f64 {
        // NaN on the diagonal must not count in the maximum.
        self.margin_matrix
            .as_ref()
            .map_or(self.options.margin, |margins| margins.iter().fold(0.0, |m: f64, &x| m.max(x)))
    }
}

fn doubles(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}
