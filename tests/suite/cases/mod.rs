//! The case table: loss x options x sizes x kinds of values, and what the f64 reference says of each.

mod check;
pub(crate) mod vectors;

use crate::harness::goes_through_all;
pub(crate) use check::{check, compare};
use maxmargin::reference::{self, Margins, Options, Sample};
use maxmargin::{
    Batch, BinaryHinge, CategoricalHinge, CrammerSinger, Device, EmbeddingHinge, Error, Evaluation, Floats, Kink,
    LabelEncoding, LeeLinWahba, ListwiseHinge, LovaszHinge, MarginRanking, MulticlassHinge, MultilabelMargin, OneVsAll,
    OverClasses, OverItems, Penalty, Reduction, Request, Targets, Ties, TopK, WestonWatkins,
};

/// A small generator, so that every run sees the same cases.
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
    /// Beyond the finite arithmetic but far from overflow.
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
    /// A class index a row.
    CategoricalIndices,
    /// A target a class.
    CategoricalMatrix,
    Listwise,
    Lovasz(LabelEncoding),
}

impl Kind {
    /// A sample is a row of scores.
    pub(crate) fn is_rows(self) -> bool {
        self.is_multiclass() || self.has_target_rows() || self == Kind::CategoricalIndices
    }

    /// A multiclass hinge, which has class weights and ignored rows.
    pub(crate) fn is_multiclass(self) -> bool {
        matches!(self, Kind::CrammerSinger | Kind::WestonWatkins | Kind::OneVsAll | Kind::LeeLinWahba | Kind::TopK)
    }

    /// A margin may be given for each pair of classes.
    pub(crate) fn takes_margin_matrix(self) -> bool {
        matches!(self, Kind::CrammerSinger | Kind::WestonWatkins | Kind::TopK)
    }

    /// A sample has a row of targets.
    pub(crate) fn has_target_rows(self) -> bool {
        matches!(self, Kind::Multilabel | Kind::CategoricalMatrix) || self.is_list()
    }

    /// A sample is a list whose items are seen beside each other.
    pub(crate) fn is_list(self) -> bool {
        matches!(self, Kind::Listwise | Kind::Lovasz(_))
    }

    /// Whether labels are 0 and 1.
    pub(crate) fn is_zero_one(self) -> bool {
        matches!(self, Kind::Binary(LabelEncoding::ZeroOne) | Kind::Lovasz(LabelEncoding::ZeroOne))
    }

    /// Samples of so many columns, fewer where a sample takes a step a pair of its items.
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

/// One case with its data.
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

/// The kernels that a trial on an adapter takes of one loss: most of its time would go into compiling others. With
/// `MAXMARGIN_TESTS=all`, and on the CPU, there is no limit. Every kernel is validated and translated in any case
/// (`shaders.rs`).
#[derive(Default)]
pub(crate) struct Kernels(Vec<String>);

impl Kernels {
    /// So many different ones.
    const MOST: usize = 8;

    /// A random case whose kernel is one of those taken.
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

    /// What of the case decides which kernel a GPU compiles for it.
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
            // So that it can be divided.
            case.options.margin *= (columns - 1) as f64;
        }
        let columns = case.columns;
        case.scores = (0..samples * columns).map(|_| values.draw(r)).collect();
        if kind == Kind::CategoricalMatrix && values == Values::Spicy {
            // Sums of huge and small scores are not exact in f64 either: whoever adds them has another sign. Powers of
            // two among zeros are.
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
            // What the diagonal holds is nobody's business.
            let margin = |i: usize, r: &mut Random| match i % (columns + 1) {
                0 => f64::NAN,
                _ if dyadic => r.below(16) as f64 / 4.0,
                _ => r.unit() * 3.0,
            };
            case.margin_matrix = Some((0..columns * columns).map(|i| margin(i, r)).collect());
        }
        if kind == Kind::TopK {
            // A power of two divides without rounding; of a larger one the square would not fit 24 bits.
            case.k = if dyadic {
                1 << r.below((columns.ilog2() as usize + 1).min(4))
            } else {
                1 + r.below(columns.min(100))
            };
        }
        if case.margin_matrix.is_some() || kind == Kind::TopK {
            // Rivals whose violations overflow tie in f32 and not in f64.
            case.scores.iter_mut().filter(|s| s.is_finite() && s.abs() > 1e30).for_each(|s| *s = s.signum() * 1e20);
        }
        if kind == Kind::Listwise {
            // Differences of such scores are exact in f32, so that no violation changes its sign by rounding.
            for s in case.scores.iter_mut().filter(|s| s.is_finite()) {
                *s = if s.abs() > 1e30 { s.signum() * 1e20 } else { (*s * 4096.0).round() / 4096.0 };
            }
        }
        if matches!(kind, Kind::Lovasz(_)) {
            // A penalty overflows before it is multiplied by a step of the Jaccard loss.
            case.scores.iter_mut().filter(|s| s.is_finite() && s.abs() > 1e15).for_each(|s| *s = s.signum() * 1e15);
        }
        if kind == Kind::TopK {
            // Huge violations of both signs cancel, and what is left of small ones then depends on the order of the sum.
            case.scores.iter_mut().filter(|s| **s < -1e10).for_each(|s| *s = s.abs());
        }
        let width = if kind.has_target_rows() { columns } else { 1 };
        case.targets = (0..samples * width)
            .map(|_| match kind {
                // Few labels a row, some twice, and now and then none.
                Kind::Multilabel if r.below(4) == 0 => -1.0,
                // Few relevances or many, and padding.
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

    /// As [`Case::evaluate`], in f64, with other scores.
    pub(crate) fn evaluate_f64(&self, device: &Device, scores: &[f64], request: &Request) -> Result<Evaluation, Error> {
        let second = doubles(&self.second);
        let batch = self.batch(scores, &second, &self.targets, self.sample_weights.as_ref());
        self.evaluate_batch(device, &batch, request)
    }

    /// The batch of this case's shape over these inputs.
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
        let o = self.options;
        match self.kind {
            Kind::Binary(labels) => {
                let loss = BinaryHinge::new().margin(o.margin).penalty(o.penalty).kink(o.kink).labels(labels);
                device.evaluate(&loss, batch, request)
            }
            Kind::Embedding => device.evaluate(&EmbeddingHinge::new().margin(o.margin).kink(o.kink), batch, request),
            Kind::Ranking => {
                let loss = MarginRanking::new().margin(o.margin).penalty(o.penalty).kink(o.kink);
                device.evaluate(&loss, batch, request)
            }
            Kind::Multilabel => {
                let loss = MultilabelMargin::new().margin(o.margin).penalty(o.penalty).kink(o.kink);
                device.evaluate(&loss.over_classes(o.over_classes), batch, request)
            }
            Kind::CategoricalIndices | Kind::CategoricalMatrix => {
                let loss = CategoricalHinge::new().margin(o.margin).penalty(o.penalty).kink(o.kink).ties(o.ties);
                device.evaluate(&loss, batch, request)
            }
            Kind::Listwise => {
                let over = if o.over_classes == OverClasses::Mean { OverItems::Mean } else { OverItems::Sum };
                let loss = ListwiseHinge::new().margin(o.margin).penalty(o.penalty).kink(o.kink).over_items(over);
                device.evaluate(&loss, batch, request)
            }
            Kind::Lovasz(labels) => {
                let loss = LovaszHinge::new().margin(o.margin).penalty(o.penalty).kink(o.kink).labels(labels);
                device.evaluate(&loss, batch, request)
            }
            Kind::CrammerSinger => device.evaluate(&self.multiclass(CrammerSinger), batch, request),
            Kind::WestonWatkins => device.evaluate(&self.multiclass(WestonWatkins), batch, request),
            Kind::OneVsAll => device.evaluate(&self.multiclass(OneVsAll), batch, request),
            Kind::LeeLinWahba => device.evaluate(&self.multiclass(LeeLinWahba), batch, request),
            Kind::TopK => device.evaluate(&self.multiclass(TopK::new(self.k)), batch, request),
        }
    }

    fn multiclass<M: maxmargin::loss::RowsLoss>(&self, method: M) -> MulticlassHinge<M> {
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
        loss
    }

    pub(crate) fn largest_margin(&self) -> f64 {
        // NaN on the diagonal is no maximum.
        self.margin_matrix
            .as_ref()
            .map_or(self.options.margin, |margins| margins.iter().fold(0.0, |m: f64, &x| m.max(x)))
    }

    /// The reference's answer, with the bounds that this case's arithmetic allows.
    pub(crate) fn expect(&self) -> Expected {
        // Options and overflow as the precision of the computation sees them.
        let rounded = |x: f64| if self.double { x } else { f64::from(x as f32) };
        let single = |x: f64| if self.double { x } else { single(x) };
        let options = Options { margin: rounded(self.options.margin), ..self.options };
        let matrix: Option<Vec<f64>> = self.margin_matrix.as_ref().map(|x| x.iter().map(|&x| rounded(x)).collect());
        let margins = matrix.as_deref().map_or(Margins::Uniform(options.margin), Margins::Matrix);
        let largest_margin = self.largest_margin();
        let mut e = Expected::default();
        if matches!(self.kind, Kind::OneVsAll) {
            e.per_class = vec![0.0; self.columns];
        }
        let mut coefficients = Vec::new();
        let width = if self.kind.has_target_rows() { self.columns } else { 1 };
        for (n, targets) in self.targets.chunks_exact(width).enumerate() {
            let target = targets[0];
            let row: Vec<f64> = self.scores[n * self.columns..][..self.columns].iter().map(|&s| s.into()).collect();
            let sample_weight = self.sample_weights.as_ref().map_or(1.0, |w| f64::from(w[n]));
            if self.kind.is_multiclass() && Some(target as i64) == self.ignore_index {
                e.losses.push(0.0);
                e.gradient.extend(vec![0.0; self.columns]);
                e.loss_bounds.push(0.0);
                coefficients.push(0.0);
                continue;
            }
            let t = f64::from(target);
            let class_weight = self.class_weights.as_ref().map_or(1.0, |w| rounded(w[target as usize]));
            let mut row_targets: Vec<f64> = targets.iter().map(|&t| t.into()).collect();
            if self.kind == Kind::CategoricalIndices {
                row_targets = (0..self.columns).map(|i| f64::from(u8::from(i == target as usize))).collect();
            }
            let Sample { loss, gradient, active, correct, per_class } = match self.kind {
                Kind::Binary(LabelEncoding::PlusMinusOne) => reference::binary::sample(row[0], t, &options),
                Kind::Binary(LabelEncoding::ZeroOne) => reference::binary::sample(row[0], 2.0 * t - 1.0, &options),
                Kind::Embedding => reference::embedding::sample(row[0], t, &options),
                Kind::Ranking => of_first(reference::ranking::sample(row[0], self.second[n].into(), t, &options)),
                Kind::CrammerSinger => reference::crammer_singer::sample(&row, target as usize, margins, &options),
                Kind::WestonWatkins => reference::weston_watkins::sample(&row, target as usize, margins, &options),
                Kind::OneVsAll => reference::one_vs_all::sample(&row, target as usize, &options),
                Kind::TopK => reference::top_k::sample(&row, target as usize, self.k, margins, &options),
                Kind::LeeLinWahba => reference::lee_lin_wahba::sample(&row, target as usize, &options),
                Kind::Listwise => reference::listwise::sample(&row, &row_targets, &options),
                Kind::Lovasz(_) => {
                    let signs: Vec<f64> = row_targets.iter().map(|&t| if t > 0.0 { 1.0 } else { -1.0 }).collect();
                    reference::lovasz::sample(&row, &signs, &options)
                }
                Kind::Multilabel => reference::multilabel::sample(&row, &row_targets, &options),
                Kind::CategoricalIndices | Kind::CategoricalMatrix => {
                    reference::categorical::sample(&row, &row_targets, &options)
                }
            };
            let weight = sample_weight * class_weight;
            // A row's sum overflows before it is divided by C, and so do its slopes.
            let over = if options.over_classes == OverClasses::Mean { self.columns as f64 } else { 1.0 };
            let row_single = |x: f64| single(x * over) / over;
            let weighted = single(weight * row_single(loss));
            e.sum += weighted;
            e.losses.push(weighted);
            // The slope of a maximum overflows before ties share it.
            let of_maximum = matches!(
                self.kind,
                Kind::CrammerSinger | Kind::TopK | Kind::CategoricalIndices | Kind::CategoricalMatrix
            );
            let shared: f64 = gradient.iter().filter(|g| **g > 0.0).sum();
            let largest = gradient.iter().fold(shared, |m, g| m.max(g.abs()));
            let shared_overflow = of_maximum && single(largest).is_infinite();
            e.gradient.extend(gradient.iter().map(|&g| match shared_overflow && g != 0.0 {
                true => g * f64::INFINITY,
                false => row_single(g),
            }));
            coefficients.push(weight);
            for (total, value) in e.per_class.iter_mut().zip(&per_class) {
                *total += single(weight * single(*value));
            }
            e.count += 1;
            e.weight_sum += sample_weight;
            e.active += u64::from(active);
            e.correct += u64::from(correct);
            // What is added before anything cancels: the scale of every rounding.
            let phi = |v: f64| match options.penalty {
                _ if self.kind == Kind::Embedding => v,
                Penalty::Squared => v * v,
                Penalty::Smooth { gamma, scale } => scale * v.min(v * v / gamma),
                // ln 2 at v = 0.
                Penalty::Softplus => v + 1.0,
                _ => v,
            };
            // An infinite score either decides the result alone or has no part in it.
            let row: Vec<f64> = row.iter().map(|&s| if s.is_finite() { s } else { 0.0 }).collect();
            let reach: f64 = match self.kind {
                Kind::WestonWatkins => {
                    row.iter().map(|s| phi(largest_margin + s.abs() + row[target as usize].abs())).sum()
                }
                Kind::OneVsAll | Kind::LeeLinWahba => row.iter().map(|s| phi(options.margin + s.abs())).sum(),
                Kind::Listwise => {
                    let item = |i: usize| {
                        let lower =
                            (0..row.len()).filter(|&j| row_targets[j] >= 0.0 && row_targets[i] > row_targets[j]);
                        lower.map(|j| phi(options.margin + row[i].abs() + row[j].abs())).sum::<f64>()
                    };
                    (0..row.len()).map(item).sum()
                }
                Kind::Lovasz(_) => phi(options.margin + row.iter().fold(0.0, |m: f64, s| m.max(s.abs()))),
                Kind::Multilabel => {
                    let pairs = |i: usize| {
                        let labels = row_targets.iter().take_while(|&&t| t >= 0.0);
                        labels.map(|&j| phi(options.margin + row[i].abs() + row[j as usize].abs())).sum::<f64>()
                    };
                    (0..row.len()).map(pairs).sum()
                }
                Kind::CategoricalIndices | Kind::CategoricalMatrix => {
                    let used = row.iter().zip(&row_targets).filter(|(_, y)| **y != 0.0).map(|(s, _)| s.abs());
                    phi(options.margin + used.sum::<f64>() + 2.0 * row.iter().fold(0.0, |m: f64, s| m.max(s.abs())))
                }
                Kind::CrammerSinger | Kind::TopK => {
                    phi(largest_margin + 2.0 * row.iter().fold(0.0, |m: f64, s| m.max(s.abs())))
                }
                Kind::Ranking if !self.second[n].is_finite() => phi(options.margin + row[0].abs()),
                Kind::Ranking => phi(options.margin + row[0].abs() + f64::from(self.second[n].abs())),
                _ => phi(options.margin + row[0].abs()),
            };
            e.loss_bounds.push(weight * reach / over);
            e.scale += weight * reach / over;
        }
        e.divisor = match self.reduction {
            Reduction::Mean => e.weight_sum,
            Reduction::MeanOverCount => e.count as f64,
            _ => 1.0,
        };
        for (n, coefficient) in coefficients.iter().enumerate() {
            for g in &mut e.gradient[n * self.columns..][..self.columns] {
                let row_divisor = if *g == 0.0 && *coefficient == 0.0 { 1.0 } else { e.divisor };
                *g = single(*g * (coefficient / row_divisor));
            }
        }
        e
    }
}

fn doubles(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

/// The part of a pair's gradient that an evaluation returns; the other is its negative.
fn of_first(sample: Sample) -> Sample {
    assert!(sample.gradient[0].is_nan() || sample.gradient[1] == -sample.gradient[0]);
    Sample { gradient: sample.gradient[..1].to_vec(), ..sample }
}

/// Beyond f32 is infinite where the computation is in f32.
fn single(x: f64) -> f64 {
    if x.abs() > f64::from(f32::MAX) * (1.0 + 2f64.powi(-25)) { x.signum() * f64::INFINITY } else { x }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) sum: f64,
    pub(crate) divisor: f64,
    pub(crate) losses: Vec<f64>,
    pub(crate) gradient: Vec<f64>,
    pub(crate) per_class: Vec<f64>,
    pub(crate) count: u64,
    pub(crate) weight_sum: f64,
    pub(crate) active: u64,
    pub(crate) correct: u64,
    pub(crate) loss_bounds: Vec<f64>,
    pub(crate) scale: f64,
}
