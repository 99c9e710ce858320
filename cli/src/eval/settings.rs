//! The options of a family once its preset is known. An explicit option wins. Options without meaning are refused,
//! except --kink and --ties, so that a script can pass these to every loss.

use maxmargin::compat::Peer;
use maxmargin::{Kink, Reduction, ScoreKind, Ties};

use super::given::{FamilyName, Given, SampleLayout};
use crate::choices::{DistanceName, Labels, Over, PenaltyName};
use crate::failure::{Failure, Outcome};
use crate::file::refuse_same_file;
use crate::method::Method;

pub(crate) struct Settings {
    pub(crate) margin: f64,
    pub(crate) penalty: PenaltyName,
    pub(crate) kink: Kink,
    pub(crate) ties: Ties,
    pub(crate) reduction: Reduction,
    pub(crate) score_kind: ScoreKind,
    pub(crate) labels: Labels,
    pub(crate) method: Method,
    pub(crate) over: Over,
    pub(crate) per_class: bool,
}

fn labels_of(peer: Peer) -> Labels {
    match peer {
        Peer::Torch | Peer::Optax => Labels::PlusMinusOne,
        Peer::Torchmetrics => Labels::ZeroOne,
        // Keras tests whether all labels are 0 or 1; scikit-learn takes the larger label as positive.
        _ => Labels::Auto,
    }
}

impl Given<'_> {
    /// The options of this family. An option that is not given has the preset's value.
    ///
    /// # Errors
    /// Usage: combinations without meaning, and presets of libraries without such a loss.
    pub(crate) fn settings(&self) -> Outcome<Settings> {
        let common = self.common;
        let peer = common.preset;
        if let Some(peer) = peer {
            self.check_preset(peer)?;
        }
        let torch_rows = peer == Some(Peer::Torch) && self.family == FamilyName::Multiclass;
        let method = self.method.unwrap_or(if torch_rows { Method::WestonWatkins } else { Method::CrammerSinger });
        let over = self.over.unwrap_or(match self.family {
            // torch divides by C, and this family follows torch.
            FamilyName::Multilabel => Over::Mean,
            FamilyName::Multiclass if torch_rows && method == Method::WestonWatkins => Over::Mean,
            // keras-rs divides by L, as Keras's means do.
            FamilyName::Listwise if peer == Some(Peer::Keras) => Over::Mean,
            _ => Over::Sum,
        });
        let penalty = self.penalty.unwrap_or(PenaltyName::Linear);
        let default_margin = if matches!(self.family, FamilyName::Ranking | FamilyName::Cosine) {
            0.0
        } else {
            penalty.default_margin()
        };
        let reduction = match common.reduction {
            None | Some(Reduction::Mean) if common.sample_weights.is_some() => peer.map_or(Reduction::Mean, Peer::mean),
            reduction => reduction.unwrap_or_default(),
        };
        // torchmetrics gives one value per class where possible.
        let per_class_by_default = peer == Some(Peer::Torchmetrics)
            && method == Method::OneVsAll
            && !matches!(reduction, Reduction::None | Reduction::MeanOverActive)
            && common.grad_out.is_none()
            && over == Over::Sum;
        let settings = Settings {
            margin: common.margin.unwrap_or(default_margin),
            penalty,
            kink: common.kink.unwrap_or(match self.family {
                // keras-rs's relu has slope 0, unlike the maximum in Keras's own hinges.
                FamilyName::Listwise => Kink::Zero,
                _ => peer.map_or(Kink::Zero, Peer::kink),
            }),
            ties: common.ties.or(peer.map(Peer::ties)).unwrap_or_default(),
            reduction,
            score_kind: common.score_kind.or(peer.map(Peer::score_kind)).unwrap_or_default(),
            labels: self.labels.unwrap_or_else(|| peer.map_or(Labels::Auto, labels_of)),
            method,
            over,
            per_class: self.per_class || per_class_by_default,
        };
        self.check_usage(&settings)?;
        Ok(settings)
    }

    fn check_preset(&self, peer: Peer) -> Outcome<()> {
        let there_are = match self.family {
            FamilyName::Binary => return Ok(()),
            FamilyName::Ranking
            | FamilyName::Embedding
            | FamilyName::Multilabel
            | FamilyName::Triplet
            | FamilyName::Cosine => vec![Peer::Torch],
            FamilyName::Categorical | FamilyName::Listwise => vec![Peer::Keras],
            FamilyName::Lovasz => vec![],
            FamilyName::Multiclass => vec![Peer::Torch, Peer::Torchmetrics, Peer::Sklearn, Peer::Optax],
        };
        if there_are.contains(&peer) {
            return Ok(());
        }
        let names: Vec<_> = there_are.iter().map(Peer::to_string).collect();
        let names = if names.is_empty() { "none".into() } else { names.join(", ") };
        Err(Failure::usage(format!("--preset {peer}: {peer} has no {} loss; presets: {names}", self.family.text())))
    }

    /// Refuses combinations of options without meaning.
    fn check_usage(&self, settings: &Settings) -> Outcome<()> {
        let common = self.common;
        let of_samples = self.files().into_iter().map(|(option, path)| (option, Some(path)));
        let of_classes = [("--class-weights", self.class_weights), ("--margin-matrix", self.margin_matrix)];
        refuse_same_file(
            &of_samples.chain(of_classes).collect::<Vec<_>>(),
            &[
                ("--grad-out", common.grad_out.as_deref()),
                ("--losses-out", common.losses_out.as_deref()),
                ("--plot-out", common.plot_out.as_deref()),
                ("--state-out", common.state_out.as_deref()),
            ],
        )?;
        settings.penalty.check_margin(settings.margin)?;
        if settings.reduction == Reduction::MeanOverActive && common.grad_out.is_some() {
            return Err(Failure::usage(
                "--grad-out goes with --reduction mean, mean-over-count or sum, got mean-active",
            ));
        }
        if common.state_out.is_some() && settings.reduction == Reduction::None {
            return Err(Failure::usage("--state-out goes with every --reduction but none"));
        }
        if common.part.is_some_and(|part| part.count > 1) {
            let together = match (self.layout(), settings.score_kind) {
                (SampleLayout::Whole, _) => Some("lovasz without --per-row is one loss of all samples"),
                (_, ScoreKind::Guessed) => Some("--score-kind guessed looks at all scores; name their kind"),
                _ => None,
            };
            if let Some(together) = together {
                return Err(Failure::usage(format!("--part: {together}")));
            }
        }
        if common.batch_size.is_some() {
            if common.grad_out.is_some() || common.losses_out.is_some() {
                return Err(Failure::usage("--batch-size goes without --grad-out and --losses-out"));
            }
            if settings.reduction == Reduction::None {
                return Err(Failure::usage("--batch-size goes with every --reduction but none"));
            }
        }
        if self.distance == Some(DistanceName::Cosine) && (self.p.is_some() || self.eps.is_some()) {
            return Err(Failure::usage("--p and --eps go with --distance norm"));
        }
        let takes_the_worst = matches!(settings.method, Method::CrammerSinger | Method::TopK);
        if self.family == FamilyName::Multiclass && takes_the_worst && settings.over == Over::Mean {
            let method = settings.method.text();
            return Err(Failure::usage(format!(
                "--over-classes mean: {method} takes the worst of the classes, not a sum"
            )));
        }
        if common.plot_out.is_some() && common.batch_size.is_none() {
            return Err(Failure::usage("--plot-out needs --batch-size: it draws the batches' values"));
        }
        if self.family == FamilyName::Multiclass && settings.method == Method::TopK && self.k.is_none() {
            return Err(Failure::usage("--method top-k needs --k"));
        }
        if self.k.is_some() && settings.method != Method::TopK {
            return Err(Failure::usage(format!("--k goes with --method top-k, got {}", settings.method.text())));
        }
        if settings.per_class {
            if settings.method != Method::OneVsAll {
                let method = settings.method.text();
                return Err(Failure::usage(format!("--per-class needs --method one-vs-all, got {method}")));
            }
            if matches!(settings.reduction, Reduction::None | Reduction::MeanOverActive)
                || common.grad_out.is_some()
                || settings.over == Over::Mean
            {
                return Err(Failure::usage(
                    "--per-class goes with --reduction mean or sum, without --grad-out or --over-classes",
                ));
            }
        }
        Ok(())
    }
}
