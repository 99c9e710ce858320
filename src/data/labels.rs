//! Labels and targets: how each host type is read, checked and turned into what the kernels compute with.

use serde::{Deserialize, Serialize};

use super::real::Real;
use super::shape::BatchShape;
use super::tensor::{Targets, with_targets};
use crate::error::{Error, Input, Result, number};
use crate::names::names;

/// What the labels of a binary loss look like. A loss never guesses it from a batch; call [`LabelEncoding::detect`] if
/// the encoding of the data is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LabelEncoding {
    /// -1 and +1.
    #[default]
    PlusMinusOne,
    /// 0 and 1 (or false and true).
    ZeroOne,
}

names!(LabelEncoding, "labels": PlusMinusOne = "plus-minus-one", ZeroOne = "zero-one");

impl LabelEncoding {
    /// The first label other than 1 decides: -1 or 0. If all labels are 1, both encodings read the same; -1/+1 is
    /// returned.
    ///
    /// # Errors
    /// [`Error::Value`] if the first label other than 1 is neither -1 nor 0. Later labels are checked by the loss.
    /// [`Error::ElementType`] for a device tensor: read it back, or state its encoding.
    pub fn detect(labels: Targets<'_>) -> Result<Self> {
        Self::detect_among_kept(labels, None)
    }

    /// As [`LabelEncoding::detect`], but the labels that a loss ignores do not decide.
    ///
    /// # Errors
    /// As [`LabelEncoding::detect`].
    pub fn detect_among_kept(labels: Targets<'_>, ignore_index: Option<i64>) -> Result<Self> {
        fn first<L: Label>(labels: &[L], ignored: Option<i64>) -> Result<LabelEncoding> {
            let is_ignored = |class: Option<i64>| class.is_some() && class == ignored;
            let decides = |class: Option<i64>| class != Some(1) && !is_ignored(class);
            match labels.iter().position(|l| decides(l.class_index())) {
                None => Ok(LabelEncoding::PlusMinusOne),
                Some(index) => match labels[index].class_index() {
                    Some(-1) => Ok(LabelEncoding::PlusMinusOne),
                    Some(0) => Ok(LabelEncoding::ZeroOne),
                    _ => Err(bad(index, labels[index], "a label of -1, 0 or 1".into())),
                },
            }
        }
        with_targets!(labels, x => first(x, ignore_index), _tensor => Err(Error::ElementType {
            input: Input::Targets, expected: "host labels, to detect their encoding", got: "a device tensor" }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TargetRule {
    /// Labels in this encoding; the kernels see -1 and +1.
    Labels(LabelEncoding),
    /// Any finite number. The kernels see -1 and +1 as they are, and every other number as 0 or as it is.
    Signs,
}

impl TargetRule {
    pub(crate) fn expected(self) -> &'static str {
        match self {
            TargetRule::Labels(LabelEncoding::PlusMinusOne) => "a label of -1 or 1",
            TargetRule::Labels(LabelEncoding::ZeroOne) => "a label of 0 or 1",
            TargetRule::Signs => "a finite target",
        }
    }

    fn signs(self) -> SignRule {
        match self {
            TargetRule::Labels(LabelEncoding::PlusMinusOne) => SignRule { other: -1, only_labels: true },
            TargetRule::Labels(LabelEncoding::ZeroOne) => SignRule { other: 0, only_labels: true },
            TargetRule::Signs => SignRule { other: -1, only_labels: false },
        }
    }

    /// Checks labels without keeping the decoded signs.
    ///
    /// # Errors
    /// As [`TargetRule::decode`].
    #[cfg(any(feature = "gpu", feature = "nn"))]
    pub(crate) fn check<L: Label>(self, labels: &[L]) -> Result<()> {
        let mut signs = [0f32; 1024];
        for (number, chunk) in labels.chunks(signs.len()).enumerate() {
            let start = (number * signs.len()) as u64;
            self.decode(chunk, &mut signs[..chunk.len()]).map_err(|error| error.shifted(start))?;
        }
        Ok(())
    }

    /// Writes the kernels' view of `labels` to `signs`, a slice of the same length.
    ///
    /// # Errors
    /// [`Error::Value`] with the index within `labels` of the first label that the rule forbids.
    #[inline(always)]
    pub(crate) fn decode<L: Label, T: Real>(self, labels: &[L], signs: &mut [T]) -> Result<()> {
        let rule = self.signs();
        // One loop per kind of rule, so that the choice is not made for each label.
        let bad_seen = match self {
            TargetRule::Labels(_) => decode_signs(SignRule { only_labels: true, ..rule }, labels, signs),
            TargetRule::Signs => decode_signs(SignRule { only_labels: false, ..rule }, labels, signs),
        };
        if bad_seen { self.find_bad(labels) } else { Ok(()) }
    }

    #[cold]
    pub(crate) fn find_bad<L: Label>(self, labels: &[L]) -> Result<()> {
        match labels.iter().position(|&l| self.signs().sign::<L, f32>(l).1) {
            Some(index) => Err(bad(index, labels[index], self.expected().into())),
            None => Ok(()),
        }
    }
}

/// A [`TargetRule`] as values, so that one loop serves every rule.
#[derive(Clone, Copy)]
struct SignRule {
    other: i8,
    /// Only 1 and `other` are allowed.
    only_labels: bool,
}

/// Writes a sign for each label; true if any label is forbidden.
#[inline(always)]
fn decode_signs<L: Label, T: Real>(rule: SignRule, labels: &[L], signs: &mut [T]) -> bool {
    let mut bad_seen = false;
    for (sign, &label) in signs.iter_mut().zip(labels) {
        let (value, bad) = rule.sign(label);
        *sign = value;
        // A flag instead of an early return keeps the loop free of branches, so that it vectorises.
        bad_seen |= bad;
    }
    bad_seen
}

impl SignRule {
    /// The kernels' view of a target, -1, 0 or +1, and whether the rule forbids it.
    #[inline(always)]
    fn sign<L: Label, T: Real>(self, label: L) -> (T, bool) {
        let (one, other) = (label.is(1), label.is(self.other));
        let negative = if other { -T::ONE } else { T::ZERO };
        let forbidden = if self.only_labels { !(one | other) } else { !label.is_finite() };
        (if one { T::ONE } else { negative }, forbidden)
    }
}

/// Labels as whole numbers.
///
/// # Errors
/// [`Error::Value`] with the index of the first label with a fraction, or beyond i64; [`Error::ElementType`] for a device
/// tensor; [`Error::OutOfMemory`].
#[cfg(feature = "linear")]
pub(crate) fn integers(labels: Targets<'_>) -> Result<Vec<i64>> {
    fn all<L: Label>(labels: &[L]) -> Result<Vec<i64>> {
        let mut integers = crate::data::memory::reserved(labels.len())?;
        for (index, &label) in labels.iter().enumerate() {
            integers.push(label.class_index().ok_or_else(|| bad(index, label, "a whole number".into()))?);
        }
        Ok(integers)
    }
    with_targets!(labels, x => all(x), _tensor => Err(Error::ElementType {
        input: Input::Targets, expected: "host labels", got: "a device tensor" }))
}

/// Writes the class indices of `labels` to `indices`; the caller's `ignore_index` becomes [`IGNORED`].
///
/// # Errors
/// [`Error::Value`] with the index within `labels` of the first label outside [0, classes) that is not ignored.
#[inline(always)]
pub(crate) fn decode_class_indices<L: Label>(
    labels: &[L],
    classes: usize,
    ignore_index: Option<i64>,
    indices: &mut [i32],
) -> Result<()> {
    let mut bad_seen = false;
    for (index, &label) in indices.iter_mut().zip(labels) {
        let (class, bad) = class_index(label, classes, ignore_index);
        *index = class;
        bad_seen |= bad;
    }
    if bad_seen { find_bad_class(labels, classes, ignore_index) } else { Ok(()) }
}

/// The kernels' view of a class index, and whether it is invalid.
#[inline(always)]
fn class_index<L: Label>(label: L, classes: usize, ignore_index: Option<i64>) -> (i32, bool) {
    // Fits in i32: no batch has 2^31 columns or more.
    let limit = classes as i64;
    let class = label.class_index();
    let is_ignored = class.is_some() & (class == ignore_index);
    let class = class.unwrap_or(-1);
    let is_class = (0 <= class) & (class < limit);
    (if is_ignored { IGNORED } else { class as i32 }, !(is_ignored | is_class))
}

#[cold]
fn find_bad_class<L: Label>(labels: &[L], classes: usize, ignore_index: Option<i64>) -> Result<()> {
    let Some(index) = labels.iter().position(|&label| class_index(label, classes, ignore_index).1) else {
        return Ok(());
    };
    Err(bad(index, labels[index], class_index_expected(classes, ignore_index)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetRowRule {
    /// Class indices up to the first negative number; C targets per row.
    Labels,
    /// -1, 0 or 1 per class; or one class index per row, which means 1 there and 0 elsewhere.
    Categories,
    /// A finite relevance per item, compared as f32; negative for padding.
    Relevances,
    Binary(LabelEncoding),
}

impl TargetRowRule {
    pub(crate) fn expected(self, shape: &BatchShape) -> String {
        match self {
            TargetRowRule::Labels => format!("a class index in [0, {}) or a negative padding", shape.columns),
            TargetRowRule::Categories if shape.target_width == 1 => class_index_expected(shape.columns, None),
            TargetRowRule::Categories => "a target of -1, 0 or 1".into(),
            TargetRowRule::Relevances => "a finite relevance, or a negative padding".into(),
            TargetRowRule::Binary(encoding) => TargetRule::Labels(encoding).expected().into(),
        }
    }

    /// The kernels' view of a target, and whether the rule forbids it.
    #[inline(always)]
    fn read<L: Label>(self, shape: &BatchShape, label: L) -> (i32, bool) {
        let columns = shape.columns as i64;
        // A label that is not an integer becomes a class above all others.
        let class = || label.class_index().unwrap_or(i64::MAX);
        match self {
            TargetRowRule::Relevances => relevance(label.to_f32()),
            TargetRowRule::Binary(encoding) => {
                let (sign, bad) = TargetRule::Labels(encoding).signs().sign::<L, f32>(label);
                (sign as i32, bad)
            }
            TargetRowRule::Labels => (class().max(-1) as i32, class() >= columns),
            TargetRowRule::Categories if shape.target_width == 1 => {
                (class() as i32, (class() < 0) | (class() >= columns))
            }
            TargetRowRule::Categories => (class() as i32, (class() < -1) | (class() > 1)),
        }
    }
}

pub(crate) struct TargetRowDecoder<'a> {
    rule: TargetRowRule,
    shape: &'a BatchShape,
}

impl<'a> TargetRowDecoder<'a> {
    pub(crate) fn new(rule: TargetRowRule, shape: &'a BatchShape) -> Self {
        Self { rule, shape }
    }

    /// Decodes whole rows, as many as `targets` has room for, as [`TargetRowDecoder::element`] does. One class index
    /// per row becomes a row of 0 and 1.
    ///
    /// # Errors
    /// [`Error::Value`] with the index within `labels` of the first label that the rule forbids.
    #[inline(always)]
    pub(crate) fn decode_rows<L: Label>(&self, labels: &[L], targets: &mut [i32]) -> Result<()> {
        use LabelEncoding::{PlusMinusOne, ZeroOne};
        use TargetRowRule::{Binary, Categories, Labels, Relevances};
        // One loop per rule, without a choice inside.
        let bad_seen = match self.rule {
            Labels => self.decode_each(Labels, labels, targets),
            Categories if self.shape.target_width == 1 => self.decode_classes(labels, targets),
            Categories => self.decode_each(Categories, labels, targets),
            Relevances => self.decode_each(Relevances, labels, targets),
            Binary(PlusMinusOne) => self.decode_each(Binary(PlusMinusOne), labels, targets),
            Binary(ZeroOne) => self.decode_each(Binary(ZeroOne), labels, targets),
        };
        match bad_seen {
            true => (0..labels.len()).try_for_each(|index| self.element(labels, index).map(|_| ())),
            false => Ok(()),
        }
    }

    /// A target for each label; true if any label is bad. A flag instead of a branch in the loop.
    #[inline(always)]
    fn decode_each<L: Label>(&self, rule: TargetRowRule, labels: &[L], targets: &mut [i32]) -> bool {
        // By value: a value behind a reference is reloaded for each label.
        let shape = *self.shape;
        let mut bad_seen = false;
        for (target, &label) in targets.iter_mut().zip(labels) {
            let (value, bad) = rule.read(&shape, label);
            *target = value;
            bad_seen |= bad;
        }
        bad_seen
    }

    /// A row of targets for each class index; true if any label is bad.
    #[inline(always)]
    fn decode_classes<L: Label>(&self, labels: &[L], targets: &mut [i32]) -> bool {
        targets.fill(0);
        let mut bad_seen = false;
        for (row, &label) in targets.chunks_exact_mut(self.shape.columns).zip(labels) {
            match TargetRowRule::Categories.read(self.shape, label) {
                (class, false) => row[class as usize] = 1,
                (_, true) => bad_seen = true,
            }
        }
        bad_seen
    }

    /// One target: a class index, -1 for padding, or -1, 0, 1. A relevance becomes an integer of the same order.
    pub(crate) fn element<L: Label>(&self, labels: &[L], index: usize) -> Result<i32> {
        let label = labels[index];
        match self.rule.read(self.shape, label) {
            (target, false) => Ok(target),
            (_, true) => Err(bad(index, label, self.rule.expected(self.shape))),
        }
    }
}

/// A relevance as an integer, and whether it is bad. Non-negative floats have the order of their bits.
#[inline(always)]
fn relevance(x: f32) -> (i32, bool) {
    // Turns -0 into +0.
    let bits = (x + 0.0).to_bits() as i32;
    (if x < 0.0 { -1 } else { bits }, !x.is_finite())
}

pub(crate) fn class_index_expected(classes: usize, ignore_index: Option<i64>) -> String {
    match ignore_index {
        Some(ignored) => format!("a class index in [0, {classes}) or the ignored {ignored}"),
        None => format!("a class index in [0, {classes})"),
    }
}

/// The kernels' value for an ignored class index, whatever the caller's `ignore_index`.
pub(crate) const IGNORED: i32 = i32::MIN;

fn bad<L: Label>(index: usize, label: L, expected: String) -> Error {
    Error::Value { input: Input::Targets, index: index as u64, value: label.to_text(), expected }
}

pub(crate) trait Label: Copy + Send + Sync {
    /// True where the label equals this small integer exactly.
    fn is(self, x: i8) -> bool;
    fn is_finite(self) -> bool;
    /// The label as an integer; `None` if it is not integral or outside i64.
    fn class_index(self) -> Option<i64>;
    fn to_f32(self) -> f32;
    /// The label in the input's own digits.
    fn to_text(self) -> String;
}

macro_rules! integer_label {
    ($($t:ty),+) => {$(
        impl Label for $t {
            #[inline(always)]
            #[allow(unused_comparisons, reason = "the same rule for signed and unsigned types")]
            fn is(self, x: i8) -> bool {
                (x >= 0 || <$t>::MIN < 0) && self == x as $t
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                true
            }
            #[inline(always)]
            fn class_index(self) -> Option<i64> {
                i64::try_from(self).ok()
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn to_text(self) -> String {
                self.to_string()
            }
        }
    )+};
}
integer_label!(i8, u8, i32, i64, u64);

macro_rules! float_label {
    ($($t:ty),+) => {$(
        impl Label for $t {
            #[inline(always)]
            fn is(self, x: i8) -> bool {
                self == x as $t
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                <$t>::is_finite(self)
            }
            #[inline(always)]
            fn class_index(self) -> Option<i64> {
                // -2^63 is exact in floating point; 2^63 is the first float above i64's range.
                let integral = self.trunc() == self && self >= -(2f64.powi(63)) as $t && self < 2f64.powi(63) as $t;
                integral.then_some(self as i64)
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn to_text(self) -> String {
                number(self)
            }
        }
    )+};
}
float_label!(f32, f64);

impl Label for bool {
    #[inline(always)]
    fn is(self, x: i8) -> bool {
        i8::from(self) == x
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        true
    }
    #[inline(always)]
    fn class_index(self) -> Option<i64> {
        Some(i64::from(self))
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(u8::from(self))
    }
    fn to_text(self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detection_follows_the_first_label_other_than_one() {
        use LabelEncoding::*;
        assert_eq!(LabelEncoding::detect((&[1i64, 1, -1, 0]).into()), Ok(PlusMinusOne));
        assert_eq!(LabelEncoding::detect((&[1u8, 0]).into()), Ok(ZeroOne));
        assert_eq!(LabelEncoding::detect((&[true, true]).into()), Ok(PlusMinusOne));
        assert_eq!(LabelEncoding::detect((&[0.0f32]).into()), Ok(ZeroOne));
        let error = LabelEncoding::detect((&[1i32, 3, -1]).into()).unwrap_err();
        assert!(matches!(error, Error::Value { index: 1, .. }), "{error}");
    }

    #[test]
    fn a_float_label_must_be_exact_before_it_is_rounded() {
        let rule = TargetRule::Labels(LabelEncoding::PlusMinusOne);
        let mut signs = [0f32; 2];
        let error = rule.decode(&[1.0f64, 1.0 + 1e-12], &mut signs).unwrap_err();
        assert!(matches!(error, Error::Value { index: 1, .. }), "{error}");
        TargetRule::Signs.decode(&[1.0f64, 1.0 + 1e-12], &mut signs).unwrap();
        assert_eq!(signs, [1.0, 0.0]);
    }

    #[test]
    fn class_indices_beyond_32_bits_are_named_as_they_are() {
        let mut indices = [0; 2];
        let error = decode_class_indices(&[1i64, (1 << 32) + 1], 3, None, &mut indices).unwrap_err();
        assert_eq!(error.to_string(), "targets[1]: expected a class index in [0, 3), got 4294967297");
        decode_class_indices(&[1i64, 1 << 40], 3, Some(1 << 40), &mut indices).unwrap();
        assert_eq!(indices, [1, IGNORED]);
    }
}
