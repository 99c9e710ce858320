//! The measured cases: every loss at several sizes, forward and with the gradient.

use std::cell::RefCell;

use half::f16;
use maxmargin::gpu::DeviceTensor;
use maxmargin::loss::Loss;
use maxmargin::{
    Batch, BinaryHinge, BitLabels, Buffers, CategoricalHinge, CosineEmbedding, Device, EmbeddingHinge, Floats,
    LabelEncoding, ListwiseHinge, LovaszHinge, MarginRanking, MulticlassHinge, MultilabelMargin, Request, Targets,
    TripletMargin,
};

use crate::failure::{Failure, Outcome};

/// The approximate number of scores of a case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    name: &'static str,
    scores: usize,
}

impl Size {
    pub(super) const ALL: &[Self] = &[
        Self { name: "64 Ki", scores: 1 << 16 },
        Self { name: "4 Mi", scores: 1 << 22 },
        Self { name: "32 Mi", scores: 1 << 25 },
    ];
    pub(super) const QUICK: &[Self] =
        &[Self { name: "64 Ki", scores: 1 << 16 }, Self { name: "1 Mi", scores: 1 << 20 }];
}

type Run = Box<dyn Fn(&Device) -> Outcome<()>>;

pub(super) struct Case {
    pub(super) name: String,
    pub(super) samples: u64,
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
    pub(super) run: Run,
}

/// Elements in the memory where they are measured: the host's or a device's.
enum Stored {
    F32(Vec<f32>),
    F16(Vec<f16>),
    F64(Vec<f64>),
    I8(Vec<i8>),
    I32(Vec<i32>),
    Bits(Vec<u32>, usize),
    Resident(DeviceTensor),
}

impl Stored {
    fn bytes(&self) -> u64 {
        let bytes = |size: usize, len: usize| (size * len) as u64;
        match self {
            Self::F32(x) => bytes(4, x.len()),
            Self::F16(x) => bytes(2, x.len()),
            Self::F64(x) => bytes(8, x.len()),
            Self::I8(x) => bytes(1, x.len()),
            Self::I32(x) => bytes(4, x.len()),
            Self::Bits(_, len) => (len / 8) as u64,
            Self::Resident(_) => 0,
        }
    }

    fn floats(&self) -> Outcome<Floats<'_>> {
        match self {
            Self::F32(x) => Ok(x.into()),
            Self::F16(x) => Ok(x.into()),
            Self::F64(x) => Ok(x.into()),
            Self::Resident(x) => Ok(x.into()),
            _ => Err(Failure::data("a case takes labels for scores")),
        }
    }

    fn targets(&self) -> Outcome<Targets<'_>> {
        match self {
            Self::F32(x) => Ok(x.into()),
            Self::I8(x) => Ok(x.into()),
            Self::I32(x) => Ok(x.into()),
            Self::Bits(words, len) => BitLabels::new(words, *len).map(Targets::Bits).map_err(Failure::data),
            Self::Resident(x) => Ok(x.into()),
            _ => Err(Failure::data("a case takes scores for labels")),
        }
    }

    /// Copies the elements to the device if it is a GPU.
    fn placed(self, device: &Device) -> Outcome<Self> {
        let Device::Gpu(gpu) = device else { return Ok(self) };
        let tensor = match &self {
            Self::I32(x) => gpu.upload_i32(x),
            Self::I8(_) | Self::Bits(..) => gpu.upload_labels(self.targets()?),
            Self::F32(_) | Self::F16(_) | Self::F64(_) | Self::Resident(_) => gpu.upload_floats(self.floats()?),
        };
        tensor.map(Self::Resident).map_err(Failure::data)
    }
}

/// Numbers without a pattern that a branch predictor could learn.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    fn scores(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.below(1 << 14) as f32 / 4096.0 - 2.0).collect()
    }

    fn signs(&mut self, len: usize) -> Vec<i8> {
        (0..len).map(|_| if self.below(2) == 0 { -1 } else { 1 }).collect()
    }

    fn indices(&mut self, len: usize, below: usize) -> Vec<i32> {
        (0..len).map(|_| self.below(below) as i32).collect()
    }
}

struct Data {
    scores: Vec<Stored>,
    targets: Option<Stored>,
    /// Scores per sample.
    columns: Option<usize>,
}

impl Data {
    fn batch(&self) -> Outcome<Batch<'_>> {
        let scores = self.scores.iter().map(Stored::floats).collect::<Outcome<Vec<_>>>()?;
        let targets = || self.targets.as_ref().map_or(Ok(Targets::I8(&[])), Stored::targets);
        match (&scores[..], self.columns) {
            (&[scores], None) => Ok(Batch::new(scores, targets()?)),
            (&[first, second], None) => Ok(Batch::pairs(first, second, targets()?)),
            (&[scores], Some(columns)) => Ok(Batch::rows(scores, columns, targets()?)),
            (&[first, second], Some(columns)) => Ok(Batch::vector_pairs(first, second, columns, targets()?)),
            (&[first, second, third], Some(columns)) => Ok(Batch::triplets(first, second, third, columns)),
            _ => Err(Failure::data("a case has no batch")),
        }
    }
}

/// Makes the wanted cases of one loss, forward and with the gradient.
struct Maker<'a> {
    size: Size,
    device: &'a Device,
    wanted: &'a dyn Fn(&str) -> bool,
    /// If set, only names are collected here and no case is made.
    names: Option<Vec<String>>,
    each: &'a mut dyn FnMut(Case) -> Outcome<()>,
}

impl Maker<'_> {
    fn add(&mut self, what: &str, loss: &dyn Loss, data: impl Fn(&mut Random) -> Data) -> Outcome<()> {
        for gradient in [false, true] {
            let kind = if gradient { "gradient" } else { "forward" };
            let name = format!("{what}, {}, {kind}", self.size.name);
            if let Some(names) = &mut self.names {
                names.push(name);
                continue;
            }
            if (self.wanted)(&name) {
                // A case is measured before the next is made.
                (self.each)(case(name, loss, data(&mut Random(1)), gradient, self.device)?)?;
            }
        }
        Ok(())
    }
}

fn case(name: String, loss: &dyn Loss, data: Data, gradient: bool, device: &Device) -> Outcome<Case> {
    let scores_bytes: u64 = data.scores.iter().map(Stored::bytes).sum();
    let bytes_read = scores_bytes + data.targets.as_ref().map_or(0, Stored::bytes);
    let samples = data.batch()?.samples() as u64;
    // Half precision has an f32 gradient; pairs of scores share one gradient.
    let elements = data.batch()?.len() as u64 * if data.columns.is_some() { data.scores.len() as u64 } else { 1 };
    let width = if matches!(data.scores.first(), Some(Stored::F64(_))) { 8 } else { 4 };
    let bytes_written = if gradient { width * elements } else { 0 };
    let mut placed = Vec::new();
    for scores in data.scores {
        placed.push(scores.placed(device)?);
    }
    let targets = data.targets.map(|targets| targets.placed(device)).transpose()?;
    let data = Data { scores: placed, targets, ..data };
    let loss = loss.boxed();
    let on_host = gradient && matches!(device, Device::Cpu);
    let request = if gradient { Request::new().gradient() } else { Request::new() };
    // Allocate before the clock starts, as the ceiling does.
    let room = |is_wanted: bool| if on_host && is_wanted { elements as usize } else { 0 };
    let single = RefCell::new(vec![0f32; room(width == 4)]);
    let double = RefCell::new(vec![0f64; room(width == 8)]);
    let run: Run = Box::new(move |device| {
        let (mut single, mut double) = (single.borrow_mut(), double.borrow_mut());
        let buffers = match (single.is_empty(), double.is_empty()) {
            (false, _) => Buffers::new().gradient(&mut *single),
            (_, false) => Buffers::new().gradient(&mut *double),
            _ => Buffers::new(),
        };
        let evaluation = device.evaluate_into(&loss, &data.batch()?, &request, buffers).map_err(Failure::data)?;
        match evaluation.value {
            Some(value) if value.is_finite() => Ok(()),
            Some(value) => Err(Failure::data(format!("a case gave the value {value}"))),
            None => Err(Failure::data("a case gave no value")),
        }
    });
    Ok(Case { name, samples, bytes_read, bytes_written, run })
}

pub(super) fn smallest(device: &Device) -> Outcome<Case> {
    let data = Data { scores: vec![Stored::F32(vec![0.5])], targets: Some(Stored::I8(vec![1])), columns: None };
    case("one sample".into(), &BinaryHinge::new(), data, false, device)
}

pub(super) fn names(sizes: &[Size], device: &Device) -> Vec<String> {
    let all = |&size: &Size| {
        let mut each = |_| Ok(());
        let mut maker = Maker { size, device, wanted: &|_| false, names: Some(Vec::new()), each: &mut each };
        // This cannot fail: naming makes no data.
        let _ = add_all(&mut maker);
        maker.names.unwrap_or_default()
    };
    sizes.iter().flat_map(all).collect()
}

/// Makes the wanted cases of a size one by one, with their data on the device.
pub(super) fn for_each(
    size: Size,
    device: &Device,
    wanted: &dyn Fn(&str) -> bool,
    each: &mut dyn FnMut(Case) -> Outcome<()>,
) -> Outcome<()> {
    add_all(&mut Maker { size, device, wanted, names: None, each })
}

fn add_all(maker: &mut Maker<'_>) -> Outcome<()> {
    let n = maker.size.scores;
    let elementwise =
        |scores: Stored, targets: Stored| Data { scores: vec![scores], targets: Some(targets), columns: None };
    let binary = BinaryHinge::new();
    let signs = |r: &mut Random| r.signs(n).into_iter().map(f32::from).collect::<Vec<_>>();
    maker.add("binary, f32 labels", &binary, |r| elementwise(Stored::F32(r.scores(n)), Stored::F32(signs(r))))?;
    maker.add("binary, i8 labels", &binary, |r| elementwise(Stored::F32(r.scores(n)), Stored::I8(r.signs(n))))?;
    maker.add("binary, bit labels", &BinaryHinge::new().labels(LabelEncoding::ZeroOne), |r| {
        let words = (0..n.div_ceil(32)).map(|_| r.below(1 << 31) as u32).collect();
        elementwise(Stored::F32(r.scores(n)), Stored::Bits(words, n))
    })?;
    maker.add("binary, f16 scores, i8 labels", &binary, |r| {
        let scores = r.scores(n).into_iter().map(f16::from_f32).collect();
        elementwise(Stored::F16(scores), Stored::I8(r.signs(n)))
    })?;
    if matches!(maker.device, Device::Cpu) {
        maker.add("binary, f64 scores, i8 labels", &binary, |r| {
            let scores = r.scores(n).into_iter().map(f64::from).collect();
            elementwise(Stored::F64(scores), Stored::I8(r.signs(n)))
        })?;
    }
    maker.add("embedding", &EmbeddingHinge::new(), |r| elementwise(Stored::F32(r.scores(n)), Stored::F32(signs(r))))?;
    maker.add("ranking", &MarginRanking::new(), |r| Data {
        scores: vec![Stored::F32(r.scores(n)), Stored::F32(r.scores(n))],
        targets: Some(Stored::F32(signs(r))),
        columns: None,
    })?;
    let rows = |r: &mut Random, columns: usize| Data {
        scores: vec![Stored::F32(r.scores(n / columns * columns))],
        targets: Some(Stored::I32(r.indices(n / columns, columns))),
        columns: Some(columns),
    };
    for columns in [10, 64, 1000] {
        let what = |name: &str| format!("{name}, {columns} classes");
        maker.add(&what("crammer-singer"), &MulticlassHinge::crammer_singer(), |r| rows(r, columns))?;
        maker.add(&what("weston-watkins"), &MulticlassHinge::weston_watkins(), |r| rows(r, columns))?;
        maker.add(&what("one-vs-all"), &MulticlassHinge::one_vs_all(), |r| rows(r, columns))?;
        maker.add(&what("lee-lin-wahba"), &MulticlassHinge::lee_lin_wahba(), |r| rows(r, columns))?;
        maker.add(&what("top-k, k 5"), &MulticlassHinge::top_k(5), |r| rows(r, columns))?;
        maker.add(&what("categorical"), &CategoricalHinge::new(), |r| rows(r, columns))?;
    }
    maker.add("multilabel, 3 labels of 20 classes", &MultilabelMargin::new(), |r| {
        let labels = (0..n / 20).flat_map(|_| {
            let mut row = [-1; 20];
            row.iter_mut().take(3).for_each(|label| *label = r.below(20) as i32);
            row
        });
        let labels = labels.collect();
        Data { targets: Some(Stored::I32(labels)), ..rows(r, 20) }
    })?;
    for items in [16, 1024] {
        maker.add(&format!("listwise, {items} items"), &ListwiseHinge::new(), |r| Data {
            targets: Some(Stored::I32(r.indices(n, 3))),
            ..rows(r, items)
        })?;
    }
    // The last is as long as an image of 512 x 512.
    for items in [16, 1024, 1 << 18].into_iter().filter(|&items| items <= n) {
        maker.add(&format!("lovasz, {items} items"), &LovaszHinge::new(), |r| Data {
            targets: Some(Stored::I8(r.signs(n))),
            ..rows(r, items)
        })?;
    }
    let vectors = |r: &mut Random, inputs: usize| (0..inputs).map(|_| Stored::F32(r.scores(n / 128 * 128))).collect();
    maker.add("triplet, 128 dimensions", &TripletMargin::new(), |r| Data {
        scores: vectors(r, 3),
        targets: None,
        columns: Some(128),
    })?;
    maker.add("cosine, 128 dimensions", &CosineEmbedding::new(), |r| Data {
        scores: vectors(r, 2),
        targets: Some(Stored::I8(r.signs(n / 128))),
        columns: Some(128),
    })
}
