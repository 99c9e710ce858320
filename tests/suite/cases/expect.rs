//! The f64 reference's answer for a case, and the scale of the rounding that the case's arithmetic allows.

use maxmargin::reference::{self, Margins, Options, Sample};
use maxmargin::{LabelEncoding, OverClasses, Penalty, Reduction};

use super::{Case, Kind, doubles};

impl Case {
    /// The reference's answer, with the bounds that this case's arithmetic allows.
    pub(crate) fn expect(&self) -> Expected {
        self.expect_at(&doubles(&self.scores))
    }

    pub(crate) fn expect_at(&self, scores: &[f64]) -> Expected {
        // Options and overflow follow the precision of the computation.
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
            let row = scores[n * self.columns..][..self.columns].to_vec();
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
            // A row's sum and its slopes overflow before they are divided by C.
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
            // The terms before anything cancels give the scale of every rounding. The rounding of a square is relative
            // to the square, so what counts is the penalty of the scores and the margin, not their sum.
            let phi = |v: f64| match options.penalty {
                _ if self.kind == Kind::Embedding => v,
                Penalty::Squared => v * v,
                Penalty::Smooth { gamma, scale } => scale * v.min(v * v / gamma),
                // ln 2 at v = 0.
                Penalty::Softplus => v + 1.0,
                _ => v,
            };
            // An infinite score either decides the result alone or does not affect it.
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
                // Only the rivals that count: a score that loses by far does not affect the rounding.
                Kind::CrammerSinger | Kind::TopK => {
                    let (class, count) = (target as usize, if self.kind == Kind::TopK { self.k } else { 1 });
                    let margin = |i: usize| match margins {
                        Margins::Uniform(margin) => margin,
                        Margins::Matrix(margins) => margins[class * self.columns + i],
                    };
                    let violation = |&i: &usize| margin(i) + row[i] - row[class];
                    let mut rivals: Vec<usize> = (0..row.len()).filter(|&i| i != class).collect();
                    rivals.sort_by(|a, b| violation(b).total_cmp(&violation(a)));
                    let used = rivals.iter().take(count).fold(0.0, |m: f64, &i| m.max(row[i].abs()));
                    phi(largest_margin + used + row[class].abs())
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

/// The part of a pair's gradient that an evaluation returns. The other part is its negative.
fn of_first(sample: Sample) -> Sample {
    assert!(sample.gradient[0].is_nan() || sample.gradient[1] == -sample.gradient[0]);
    Sample { gradient: sample.gradient[..1].to_vec(), ..sample }
}

/// What f32 makes of x: infinite beyond f32's range.
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
