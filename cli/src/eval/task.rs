//! Builds the loss that the arguments ask for, and words its options for the report.

use std::path::Path;

use maxmargin::loss::{Loss, RowsLoss};
use maxmargin::{
    BinaryHinge, CategoricalHinge, CosineEmbedding, Distance, EmbeddingHinge, Error, ListwiseHinge, LovaszHinge,
    MarginRanking, MulticlassHinge, MultilabelMargin, OverClasses, OverItems, Targets, TripletMargin,
};
use serde_json::{Map, Value, json};

use super::given::{FamilyName, Given};
use super::settings::Settings;
use crate::choices::{DistanceName, Over, penalty_of};
use crate::method::with_method;
use crate::report::number;

/// A loss with its `ignore_index`, if there is one.
macro_rules! ignoring {
    ($loss:expr, $index:expr) => {
        match $index {
            Some(index) => $loss.ignore_index(index),
            None => $loss,
        }
    };
}

/// A loss, and its options as the report words them.
pub(crate) struct Setup {
    pub(crate) loss: Box<dyn Loss>,
    pub(crate) options: Map<String, Value>,
}

impl Given<'_> {
    /// Builds the loss with its options. An encoding of `auto` is found from the labels.
    ///
    /// # Errors
    /// [`Error::Value`] for a label that fits no encoding.
    pub(crate) fn loss(
        &self,
        settings: &Settings,
        targets: Targets<'_>,
        classes: ClassNumbers<'_>,
    ) -> Result<Setup, Error> {
        let (margin, kink) = (settings.margin, settings.kink);
        let penalty = penalty_of(settings.penalty);
        let mut options = Map::new();
        options.insert("margin".into(), json!(margin));
        options.insert("sample_weights".into(), path_json(self.common.sample_weights.as_deref()));
        if self.family != FamilyName::Embedding {
            options.insert("penalty".into(), settings.penalty.text().into());
        }
        options.insert("kink".into(), kink.to_string().into());
        options.insert("score_kind".into(), settings.score_kind.to_string().into());
        options.insert("preset".into(), json!(self.common.preset.map(|peer| peer.to_string())));
        if let Some(index) = self.ignore_index.filter(|_| self.family != FamilyName::Multiclass) {
            options.insert("ignore_index".into(), json!(index));
        }
        let ties = settings.ties.to_string();
        let loss: Box<dyn Loss> = match self.family {
            FamilyName::Binary => {
                let encoding = settings.labels.encoding(targets, self.ignore_index)?;
                options.insert("labels".into(), encoding.to_string().into());
                let loss = BinaryHinge::new().margin(margin).penalty(penalty).kink(kink).labels(encoding);
                Box::new(ignoring!(loss, self.ignore_index))
            }
            FamilyName::Ranking => {
                let loss = MarginRanking::new().margin(margin).penalty(penalty).kink(kink);
                Box::new(ignoring!(loss, self.ignore_index))
            }
            FamilyName::Embedding => {
                Box::new(ignoring!(EmbeddingHinge::new().margin(margin).kink(kink), self.ignore_index))
            }
            FamilyName::Multilabel => {
                options.insert("over_classes".into(), settings.over.text().into());
                let loss = MultilabelMargin::new().margin(margin).penalty(penalty).kink(kink);
                Box::new(ignoring!(loss.over_classes(over_classes(settings.over)), self.ignore_index))
            }
            FamilyName::Categorical => {
                options.insert("ties".into(), ties.into());
                let loss = CategoricalHinge::new().margin(margin).penalty(penalty).kink(kink).ties(settings.ties);
                Box::new(ignoring!(loss, self.ignore_index))
            }
            FamilyName::Listwise => {
                options.insert("over_items".into(), settings.over.text().into());
                let over = if settings.over == Over::Mean { OverItems::Mean } else { OverItems::Sum };
                let loss = ListwiseHinge::new().margin(margin).penalty(penalty).kink(kink).over_items(over);
                Box::new(ignoring!(loss, self.ignore_index))
            }
            FamilyName::Lovasz => {
                let encoding = settings.labels.encoding(targets, self.ignore_index)?;
                options.insert("labels".into(), encoding.to_string().into());
                options.insert("per_row".into(), json!(self.per_row));
                let loss = LovaszHinge::new().margin(margin).penalty(penalty).kink(kink).labels(encoding);
                Box::new(ignoring!(loss, self.ignore_index))
            }
            FamilyName::Triplet => {
                let name = self.distance.unwrap_or(DistanceName::Norm);
                options.insert("distance".into(), name.text().into());
                let distance = match name {
                    DistanceName::Cosine => Distance::Cosine,
                    DistanceName::Norm => {
                        let (p, epsilon) = (self.p.unwrap_or(2.0), self.eps.unwrap_or(1e-6));
                        options.insert("p".into(), number(p));
                        options.insert("eps".into(), number(epsilon));
                        Distance::Norm { p, epsilon }
                    }
                };
                options.insert("swap".into(), json!(self.swap));
                let loss = TripletMargin::new().margin(margin).penalty(penalty).kink(kink);
                Box::new(loss.distance(distance).swap(self.swap))
            }
            FamilyName::Cosine => {
                let loss = CosineEmbedding::new().margin(margin).penalty(penalty).kink(kink);
                Box::new(ignoring!(loss, self.ignore_index))
            }
            FamilyName::Multiclass => {
                options.insert("method".into(), settings.method.text().into());
                options.insert("over_classes".into(), settings.over.text().into());
                options.insert("ties".into(), ties.into());
                options.insert("class_weights".into(), path_json(self.class_weights));
                if self.margin_matrix.is_some() {
                    // The matrix replaces the margin.
                    options.insert("margin".into(), Value::Null);
                }
                options.insert("margin_matrix".into(), path_json(self.margin_matrix));
                options.insert("ignore_index".into(), json!(self.ignore_index));
                if let Some(k) = self.k {
                    options.insert("k".into(), json!(k));
                }
                with_method!(settings.method, self.k.unwrap_or(1), loss => with_options(loss, settings, classes, self.ignore_index))
            }
        };
        Ok(Setup { loss, options })
    }
}

/// A path as text for JSON, lossily where the path is not Unicode.
fn path_json(path: Option<&Path>) -> Value {
    json!(path.map(Path::to_string_lossy))
}

/// The weights and margins of classes, from files.
#[derive(Clone, Copy)]
pub(crate) struct ClassNumbers<'a> {
    pub(crate) weights: Option<&'a [f64]>,
    pub(crate) margins: Option<&'a [f64]>,
}

/// Adds options to a multiclass hinge of any method.
fn with_options<M: RowsLoss>(
    loss: MulticlassHinge<M>,
    settings: &Settings,
    classes: ClassNumbers<'_>,
    ignore_index: Option<i64>,
) -> Box<dyn Loss> {
    let mut loss = loss
        .margin(settings.margin)
        .penalty(penalty_of(settings.penalty))
        .kink(settings.kink)
        .ties(settings.ties)
        .over_classes(over_classes(settings.over));
    if let Some(weights) = classes.weights {
        loss = loss.class_weights(weights);
    }
    if let Some(margins) = classes.margins {
        loss = loss.margin_matrix(margins);
    }
    Box::new(ignoring!(loss, ignore_index))
}

fn over_classes(over: Over) -> OverClasses {
    match over {
        Over::Sum => OverClasses::Sum,
        Over::Mean => OverClasses::Mean,
    }
}
