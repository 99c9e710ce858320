//! What the arguments of a family ask for: the loss as a value, and how the report words its options.

use std::path::{Path, PathBuf};

use maxmargin::loss::{Loss, RowsLoss};
use maxmargin::metric::{Metric, Step};
use maxmargin::{
    Batch, BinaryHinge, CrammerSinger, Device, EmbeddingHinge, Error, Evaluation, Kink, LabelEncoding, MarginRanking,
    MulticlassHinge, OneVsAll, OverClasses, Penalty, Reduction, Request, Targets, Ties, WestonWatkins,
};
use serde_json::{Map, Value, json};

use crate::arguments::{Common, Family, Inputs, KinkName, Labels, Method, Over, PenaltyName, ReductionName, TiesName};
use crate::failure::{Failure, Outcome};

/// Losses of different types behind one face.
pub(crate) trait ErasedLoss {
    fn evaluate(&self, device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation, Error>;
    /// An empty streaming metric of this loss.
    fn metric(&self, reduction: Reduction, per_class: bool) -> Box<dyn ErasedMetric>;
}

impl<L: Loss + Clone + PartialEq + std::fmt::Debug + 'static> ErasedLoss for L {
    fn evaluate(&self, device: &Device, batch: &Batch<'_>, request: &Request) -> Result<Evaluation, Error> {
        device.evaluate(self, batch, request)
    }

    fn metric(&self, reduction: Reduction, per_class: bool) -> Box<dyn ErasedMetric> {
        let metric = Metric::new(self.clone()).reduction(reduction);
        Box::new(if per_class { metric.per_class() } else { metric })
    }
}

/// Streaming metrics of different losses behind one face.
pub(crate) trait ErasedMetric {
    fn forward(&mut self, device: &Device, batch: &Batch<'_>) -> Result<Step, Error>;
    fn compute(&mut self) -> Result<Evaluation, Error>;
}

impl<L: Loss + Clone + PartialEq + std::fmt::Debug> ErasedMetric for Metric<L> {
    fn forward(&mut self, device: &Device, batch: &Batch<'_>) -> Result<Step, Error> {
        Metric::forward(self, device, batch)
    }

    fn compute(&mut self) -> Result<Evaluation, Error> {
        Metric::compute(self)
    }
}

/// A loss with its options as the report words them.
pub(crate) struct Setup {
    pub(crate) loss: Box<dyn ErasedLoss>,
    pub(crate) options: Map<String, Value>,
}

impl Family {
    /// The family as it is written on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Family::Binary { .. } => "binary",
            Family::Ranking { .. } => "ranking",
            Family::Embedding { .. } => "embedding",
            Family::Multiclass { .. } => "multiclass",
        }
    }

    pub(crate) fn inputs(&self) -> &Inputs {
        match self {
            Family::Binary { inputs, .. }
            | Family::Ranking { inputs, .. }
            | Family::Embedding { inputs, .. }
            | Family::Multiclass { inputs, .. } => inputs,
        }
    }

    pub(crate) fn common(&self) -> &Common {
        match self {
            Family::Binary { common, .. }
            | Family::Ranking { common, .. }
            | Family::Embedding { common, .. }
            | Family::Multiclass { common, .. } => common,
        }
    }

    /// The files of the scores, and of the second scores of pairs.
    pub(crate) fn score_paths(&self) -> (&Path, Option<&Path>) {
        match self {
            Family::Binary { scores, .. } | Family::Embedding { scores, .. } | Family::Multiclass { scores, .. } => {
                (&scores.scores, None)
            }
            Family::Ranking { first, second, .. } => (first, Some(second)),
        }
    }

    pub(crate) fn class_weights_path(&self) -> Option<&Path> {
        match self {
            Family::Multiclass { class_weights, .. } => class_weights.as_deref(),
            _ => None,
        }
    }

    /// Whether a sample is a row of scores.
    pub(crate) fn has_rows(&self) -> bool {
        matches!(self, Family::Multiclass { .. })
    }

    fn penalty(&self) -> PenaltyName {
        match self {
            Family::Binary { penalty, .. } | Family::Ranking { penalty, .. } | Family::Multiclass { penalty, .. } => {
                penalty.penalty
            }
            Family::Embedding { .. } => PenaltyName::Linear,
        }
    }

    /// The margin asked for, or the default of the family and the penalty.
    fn margin(&self) -> f64 {
        let default = if matches!(self, Family::Ranking { .. }) { 0.0 } else { self.penalty().default_margin() };
        self.inputs().margin.unwrap_or(default)
    }

    /// Refuses combinations of options that mean nothing.
    pub(crate) fn check_usage(&self) -> Outcome<()> {
        let common = self.common();
        if common.grad_out.is_some() && common.grad_out == common.losses_out {
            return Err(Failure::usage("--grad-out and --losses-out name the same file"));
        }
        if self.penalty() == PenaltyName::Perceptron && self.margin() != 0.0 {
            return Err(Failure::usage(format!(
                "--penalty perceptron is the linear penalty at margin 0, but --margin is {}",
                self.margin()
            )));
        }
        if common.batch_size.is_some() {
            if common.grad_out.is_some() || common.losses_out.is_some() {
                return Err(Failure::usage("--batch-size goes without --grad-out and --losses-out"));
            }
            let known = |path: &PathBuf| path.extension().is_some_and(|e| e == "svg" || e == "png");
            if let Some(path) = common.plot_out.as_ref().filter(|path| !known(path)) {
                let path = path.display();
                return Err(Failure::usage(format!("--plot-out {path}: expected a name that ends in .svg or .png")));
            }
            if common.reduction == ReductionName::None {
                return Err(Failure::usage("--batch-size goes with --reduction mean or sum"));
            }
        }
        let Family::Multiclass { method, over_classes, per_class, .. } = self else { return Ok(()) };
        if *method == Method::CrammerSinger && *over_classes == Over::Mean {
            return Err(Failure::usage(
                "--over-classes mean: crammer-singer takes a maximum over the classes, not a sum",
            ));
        }
        if *per_class {
            if *method != Method::OneVsAll {
                return Err(Failure::usage(format!("--per-class needs --method one-vs-all, got {}", method.text())));
            }
            if common.reduction == ReductionName::None || common.grad_out.is_some() || *over_classes == Over::Mean {
                return Err(Failure::usage(
                    "--per-class goes with --reduction mean or sum, without --grad-out or --over-classes",
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn reduction(&self) -> Reduction {
        match self.common().reduction {
            ReductionName::Mean => Reduction::Mean,
            ReductionName::Sum => Reduction::Sum,
            ReductionName::None => Reduction::None,
        }
    }

    pub(crate) fn per_class(&self) -> bool {
        matches!(self, Family::Multiclass { per_class: true, .. })
    }

    /// What an evaluation is to return.
    pub(crate) fn request(&self) -> Request {
        let common = self.common();
        let mut request = Request::new().reduction(self.reduction());
        if common.grad_out.is_some() {
            request = request.gradient();
        }
        if common.losses_out.is_some() {
            request = request.losses();
        }
        if self.per_class() { request.per_class() } else { request }
    }

    /// The loss with its options. Labels of unknown encoding are looked at.
    ///
    /// # Errors
    /// [`Error::Value`] for a label that no encoding has.
    pub(crate) fn loss(&self, targets: Targets<'_>, class_weights: Option<&[f64]>) -> Result<Setup, Error> {
        let common = self.common();
        let (margin, penalty, kink) = (self.margin(), penalty_of(self.penalty()), kink_of(common.kink));
        let mut options = Map::new();
        options.insert("margin".into(), json!(margin));
        options.insert("sample_weights".into(), json!(self.inputs().sample_weights));
        if !matches!(self, Family::Embedding { .. }) {
            options.insert("penalty".into(), self.penalty().text().into());
        }
        options.insert("kink".into(), common.kink.text().into());
        let loss: Box<dyn ErasedLoss> = match self {
            Family::Binary { labels, .. } => {
                let (encoding, found) = encoding(*labels, targets)?;
                options.insert("labels".into(), found.text().into());
                Box::new(BinaryHinge::new().margin(margin).penalty(penalty).kink(kink).labels(encoding))
            }
            Family::Ranking { .. } => Box::new(MarginRanking::new().margin(margin).penalty(penalty).kink(kink)),
            Family::Embedding { .. } => Box::new(EmbeddingHinge::new().margin(margin).kink(kink)),
            Family::Multiclass { method, over_classes, class_weights: path, ignore_index, .. } => {
                options.insert("method".into(), method.text().into());
                options.insert("over_classes".into(), over_classes.text().into());
                options.insert("ties".into(), common.ties.text().into());
                options.insert("class_weights".into(), json!(path));
                options.insert("ignore_index".into(), json!(ignore_index));
                let rows = Rows {
                    margin,
                    penalty,
                    kink,
                    ties: match common.ties {
                        TiesName::First => Ties::First,
                        TiesName::Split => Ties::Split,
                    },
                    over_classes: match over_classes {
                        Over::Sum => OverClasses::Sum,
                        Over::Mean => OverClasses::Mean,
                    },
                    class_weights,
                    ignore_index: *ignore_index,
                };
                match method {
                    Method::CrammerSinger => Box::new(rows.with(CrammerSinger)),
                    Method::WestonWatkins => Box::new(rows.with(WestonWatkins)),
                    Method::OneVsAll => Box::new(rows.with(OneVsAll)),
                }
            }
        };
        Ok(Setup { loss, options })
    }
}

/// The encoding of binary labels, and its name.
fn encoding(labels: Labels, targets: Targets<'_>) -> Result<(LabelEncoding, Labels), Error> {
    let encoding = match labels {
        Labels::PlusMinusOne => LabelEncoding::PlusMinusOne,
        Labels::ZeroOne => LabelEncoding::ZeroOne,
        Labels::Auto => LabelEncoding::detect(targets)?,
    };
    let found = match encoding {
        LabelEncoding::PlusMinusOne => Labels::PlusMinusOne,
        LabelEncoding::ZeroOne => Labels::ZeroOne,
    };
    Ok((encoding, found))
}

/// The options of a multiclass hinge, whatever its method.
struct Rows<'a> {
    margin: f64,
    penalty: Penalty,
    kink: Kink,
    ties: Ties,
    over_classes: OverClasses,
    class_weights: Option<&'a [f64]>,
    ignore_index: Option<i64>,
}

impl Rows<'_> {
    fn with<M: RowsLoss>(&self, method: M) -> MulticlassHinge<M> {
        let mut loss = MulticlassHinge::with_method(method)
            .margin(self.margin)
            .penalty(self.penalty)
            .kink(self.kink)
            .ties(self.ties)
            .over_classes(self.over_classes);
        if let Some(weights) = self.class_weights {
            loss = loss.class_weights(weights);
        }
        match self.ignore_index {
            Some(index) => loss.ignore_index(index),
            None => loss,
        }
    }
}

fn penalty_of(name: PenaltyName) -> Penalty {
    match name {
        PenaltyName::Linear | PenaltyName::Perceptron => Penalty::Linear,
        PenaltyName::Squared => Penalty::Squared,
        PenaltyName::Smooth(gamma) => Penalty::smooth(gamma),
        PenaltyName::Rennie => Penalty::RENNIE,
        PenaltyName::ModifiedHuber => Penalty::MODIFIED_HUBER,
        PenaltyName::SoftMargin => Penalty::Softplus,
    }
}

fn kink_of(name: KinkName) -> Kink {
    match name {
        KinkName::Zero => Kink::Zero,
        KinkName::Half => Kink::Half,
        KinkName::Active => Kink::Active,
    }
}
