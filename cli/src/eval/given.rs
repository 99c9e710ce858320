//! The arguments of any family in one common form.

use std::path::{Path, PathBuf};

use super::arguments::{Common, Family, ScoresAndTargets};
use crate::choices::{DistanceName, Labels, Over, PenaltyName, choices};
use crate::method::Method;

choices! {
    FamilyName {
        Binary, Ranking, Embedding, Multiclass, Multilabel, Categorical, Listwise, Lovasz, Triplet, Cosine
    }
}

#[derive(Clone, Copy)]
pub(super) struct FileOption<'a> {
    pub(super) option: &'static str,
    pub(super) path: &'a Path,
}

/// The arguments of any family in one common form. Options that a family lacks are `None` or false.
pub(super) struct Given<'a> {
    pub(super) family: FamilyName,
    pub(super) common: &'a Common,
    /// One file of scores; two for pairs, three for triplets.
    pub(super) scores: Vec<FileOption<'a>>,
    pub(super) targets: Option<&'a Path>,
    pub(super) class_weights: Option<&'a Path>,
    pub(super) margin_matrix: Option<&'a Path>,
    pub(super) labels: Option<Labels>,
    pub(super) penalty: Option<PenaltyName>,
    pub(super) method: Option<Method>,
    /// How sums over classes, or over the items of a list, are divided.
    pub(super) over: Option<Over>,
    pub(super) k: Option<usize>,
    pub(super) per_class: bool,
    pub(super) ignore_index: Option<i64>,
    pub(super) per_row: bool,
    pub(super) distance: Option<DistanceName>,
    pub(super) p: Option<f64>,
    pub(super) eps: Option<f64>,
    pub(super) swap: bool,
}

fn plain<'a, const FILES: usize>(
    family: FamilyName,
    scores: [(&'static str, &'a PathBuf); FILES],
    targets: Option<&'a PathBuf>,
    common: &'a Common,
) -> Given<'a> {
    Given {
        family,
        common,
        scores: scores.into_iter().map(|(option, path)| FileOption { option, path }).collect(),
        targets: targets.map(PathBuf::as_path),
        class_weights: None,
        margin_matrix: None,
        labels: None,
        penalty: None,
        method: None,
        over: None,
        k: None,
        per_class: false,
        ignore_index: None,
        per_row: false,
        distance: None,
        p: None,
        eps: None,
        swap: false,
    }
}

fn scored<'a>(family: FamilyName, files: &'a ScoresAndTargets, common: &'a Common) -> Given<'a> {
    plain(family, [("--scores", &files.scores)], Some(&files.targets), common)
}

fn paired<'a>(
    family: FamilyName,
    [first, second]: [&'a PathBuf; 2],
    targets: &'a PathBuf,
    common: &'a Common,
) -> Given<'a> {
    plain(family, [("--first", first), ("--second", second)], Some(targets), common)
}

impl Family {
    pub(super) fn given(&self) -> Given<'_> {
        match self {
            Family::Binary { files, labels, penalty, ignored, common } => {
                let plain = scored(FamilyName::Binary, files, common);
                Given { labels: *labels, penalty: penalty.penalty, ignore_index: ignored.ignore_index, ..plain }
            }
            Family::Ranking { first, second, targets, penalty, ignored, common } => {
                let plain = paired(FamilyName::Ranking, [first, second], targets, common);
                Given { penalty: penalty.penalty, ignore_index: ignored.ignore_index, ..plain }
            }
            Family::Embedding { files, ignored, common } => {
                Given { ignore_index: ignored.ignore_index, ..scored(FamilyName::Embedding, files, common) }
            }
            Family::Multiclass {
                files,
                method,
                k,
                penalty,
                over_classes,
                per_class,
                class_weights,
                margin_matrix,
                ignored,
                common,
            } => Given {
                class_weights: class_weights.as_deref(),
                margin_matrix: margin_matrix.as_deref(),
                penalty: penalty.penalty,
                method: *method,
                over: *over_classes,
                k: *k,
                per_class: *per_class,
                ignore_index: ignored.ignore_index,
                ..scored(FamilyName::Multiclass, files, common)
            },
            Family::Multilabel { files, penalty, over_classes, ignored, common } => {
                let plain = scored(FamilyName::Multilabel, files, common);
                Given { penalty: penalty.penalty, over: *over_classes, ignore_index: ignored.ignore_index, ..plain }
            }
            Family::Categorical { files, penalty, ignored, common } => Given {
                penalty: penalty.penalty,
                ignore_index: ignored.ignore_index,
                ..scored(FamilyName::Categorical, files, common)
            },
            Family::Listwise { files, penalty, over_items, ignored, common } => {
                let plain = scored(FamilyName::Listwise, files, common);
                Given { penalty: penalty.penalty, over: *over_items, ignore_index: ignored.ignore_index, ..plain }
            }
            Family::Lovasz { files, labels, per_row, penalty, ignored, common } => {
                let plain = scored(FamilyName::Lovasz, files, common);
                Given {
                    labels: *labels,
                    per_row: *per_row,
                    penalty: penalty.penalty,
                    ignore_index: ignored.ignore_index,
                    ..plain
                }
            }
            Family::Triplet { anchor, positive, negative, penalty, distance, p, eps, swap, common } => {
                let files = [("--anchor", anchor), ("--positive", positive), ("--negative", negative)];
                let plain = plain(FamilyName::Triplet, files, None, common);
                Given { penalty: penalty.penalty, distance: *distance, p: *p, eps: *eps, swap: *swap, ..plain }
            }
            Family::Cosine { first, second, targets, penalty, ignored, common } => {
                let plain = paired(FamilyName::Cosine, [first, second], targets, common);
                Given { penalty: penalty.penalty, ignore_index: ignored.ignore_index, ..plain }
            }
        }
    }
}

/// The part of the scores that makes a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleLayout {
    /// One score, whatever the shape of the file.
    Element,
    Row,
    Whole,
    /// One row from each of this many files.
    Vectors(usize),
}

impl Given<'_> {
    pub(super) fn layout(&self) -> SampleLayout {
        match self.family {
            FamilyName::Binary | FamilyName::Ranking | FamilyName::Embedding => SampleLayout::Element,
            FamilyName::Lovasz if !self.per_row => SampleLayout::Whole,
            FamilyName::Multiclass
            | FamilyName::Multilabel
            | FamilyName::Categorical
            | FamilyName::Listwise
            | FamilyName::Lovasz => SampleLayout::Row,
            FamilyName::Triplet => SampleLayout::Vectors(3),
            FamilyName::Cosine => SampleLayout::Vectors(2),
        }
    }

    /// The files that have something for each sample, by option; those of scores first.
    pub(super) fn files(&self) -> Vec<(&'static str, &Path)> {
        let scores = self.scores.iter().map(|&FileOption { option, path }| (option, path));
        let others = [("--targets", self.targets), ("--sample-weights", self.common.sample_weights.as_deref())];
        scores.chain(others.into_iter().filter_map(|(option, path)| Some((option, path?)))).collect()
    }

    /// The file of the scores, or the first of several.
    pub(super) fn scores_path(&self) -> &Path {
        self.scores.first().map_or(Path::new(""), |file| file.path)
    }

    /// Whether samples are left out, and not only labels or items of them.
    pub(super) fn ignores_samples(&self) -> bool {
        let in_parts = matches!(self.family, FamilyName::Multilabel | FamilyName::Listwise | FamilyName::Lovasz);
        self.ignore_index.is_some() && !in_parts
    }

    /// Whether the labels can have either of two encodings.
    pub(super) fn has_encoded_labels(&self) -> bool {
        matches!(self.family, FamilyName::Binary | FamilyName::Lovasz)
    }
}
