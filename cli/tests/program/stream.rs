//! Files of several blocks: the same numbers as from memory, indices into the whole file, and bounded memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Seek, SeekFrom, Write};

use crate::support::{Folder, close, npy, read_npy};
use maxmargin::{
    Batch, BinaryHinge, Device, Evaluation, LabelEncoding, MulticlassHinge, Reduction, Request, TripletMargin,
};
use serde_json::Value;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn scores(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (self.next() % 16_384) as f32 / 4096.0 - 2.0).collect()
    }

    fn indices(&mut self, len: usize, below: u64) -> Vec<i64> {
        (0..len).map(|_| (self.next() % below) as i64).collect()
    }
}

/// Compares the program's numbers and files with the library's over the whole arrays.
fn agrees(folder: &Folder, got: &Value, expected: &Evaluation) {
    close(&got["value"], expected.value.unwrap(), 1e-12);
    close(&got["weight_sum"], expected.weight_sum, 1e-12);
    assert_eq!((&got["count"], &got["active"]), (&expected.count.into(), &expected.active.into()));
    for (name, output) in [("g.npy", &expected.gradient), ("l.npy", &expected.losses)] {
        let (got, expected) = (read_npy(&folder.path(name)).1, output.as_ref().unwrap().to_f64().unwrap());
        assert_eq!(got.len(), expected.len(), "{name}");
        let far = |(&x, &y): (&f64, &f64)| (x - y).abs() > 2e-7 * y.abs();
        let first = got.iter().zip(&expected).position(far);
        assert_eq!(first, None, "{name}: {:?} and {:?}", first.map(|i| got[i]), first.map(|i| expected[i]));
    }
}

const OUTPUTS: &str = "--grad-out g.npy --losses-out l.npy";

#[test]
fn weighted_scores() {
    let (folder, mut random) = (Folder::new(), Random(1));
    let n = 1_000_003;
    let (scores, weights) = (random.scores(n), random.scores(n).iter().map(|x| x.abs()).collect::<Vec<_>>());
    let labels = random.indices(n, 2);
    folder.f32("s.npy", &format!("({n}, 1)"), &scores);
    folder.i64("t.npy", &labels);
    folder.f32("w.npy", &format!("({n},)"), &weights);
    let loss = BinaryHinge::new().labels(LabelEncoding::ZeroOne);
    let batch = Batch::new(&scores, &labels).sample_weights(&weights);
    let files = "eval binary --scores s.npy --targets t.npy --sample-weights w.npy";
    for (name, reduction) in [("mean", Reduction::Mean), ("sum", Reduction::Sum)] {
        let request = Request::new().reduction(reduction).gradient().losses();
        let expected = Device::cpu().evaluate(&loss, &batch, &request).unwrap();
        agrees(&folder, &folder.json(&format!("{files} --reduction {name} {OUTPUTS}")), &expected);
    }
    assert!(read_npy(&folder.path("g.npy")).0.contains(&format!("({n}, 1")));
    // The comparison must notice the gradient of another batch.
    let other = Device::cpu().evaluate(&loss, &batch, &Request::new().gradient().losses()).unwrap();
    let compare = || agrees(&folder, &folder.json(&format!("{files} --reduction sum {OUTPUTS}")), &other);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(compare)).is_err());
}

#[test]
fn rows_with_ignored_ones() {
    let (folder, mut random) = (Folder::new(), Random(2));
    let (n, columns) = (150_001, 20);
    let scores = random.scores(n * columns);
    let mut labels = random.indices(n, columns as u64);
    labels.iter_mut().step_by(7).for_each(|label| *label = -100);
    folder.f32("s.npy", &format!("({n}, {columns})"), &scores);
    folder.i64("t.npy", &labels);
    let loss = MulticlassHinge::weston_watkins().ignore_index(-100);
    let batch = Batch::rows(&scores, columns, &labels);
    let expected = Device::cpu().evaluate(&loss, &batch, &Request::new().gradient().losses()).unwrap();
    let files = "eval multiclass --scores s.npy --targets t.npy --method weston-watkins --ignore-index -100";
    agrees(&folder, &folder.json(&format!("{files} {OUTPUTS}")), &expected);
    // Batches are cut anew from the blocks.
    let got = folder.json(&format!("{files} --batch-size 4321"));
    close(&got["value"], expected.value.unwrap(), 1e-12);
    assert_eq!(got["batch_values"].as_array().unwrap().len(), n.div_ceil(4321));
}

#[test]
fn vectors_of_triplets() {
    let (folder, mut random) = (Folder::new(), Random(3));
    let (n, dimensions) = (50_001, 16);
    let [anchor, positive, negative] = [(); 3].map(|()| random.scores(n * dimensions));
    for (name, vectors) in [("a.npy", &anchor), ("p.npy", &positive), ("n.npy", &negative)] {
        folder.f32(name, &format!("({n}, {dimensions})"), vectors);
    }
    let batch = Batch::triplets(&anchor, &positive, &negative, dimensions);
    let expected = Device::cpu().evaluate(&TripletMargin::new(), &batch, &Request::new().gradient().losses()).unwrap();
    let files = "eval triplet --anchor a.npy --positive p.npy --negative n.npy";
    agrees(&folder, &folder.json(&format!("{files} {OUTPUTS}")), &expected);
    assert!(read_npy(&folder.path("g.npy")).0.contains(&format!("(3, {n}, {dimensions}")));
}

#[test]
fn one_tensor_of_several() {
    let (folder, mut random) = (Folder::new(), Random(4));
    let n = 2_500_000;
    let scores = random.scores(n);
    let (first, end) = (8, 8 + 4 * n);
    let header = format!(
        r#"{{"x":{{"dtype":"U8","shape":[8],"data_offsets":[0,8]}},"s":{{"dtype":"F32","shape":[{n}],"data_offsets":[{first},{end}]}},"t":{{"dtype":"U8","shape":[{n}],"data_offsets":[{end},{}]}}}}"#,
        end + n
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend([9; 8]);
    bytes.extend(scores.iter().flat_map(|x| x.to_le_bytes()));
    // Only the last label is not 1, so that only the last block reveals the encoding.
    let mut labels = vec![1u8; n];
    labels[n - 1] = 0;
    bytes.extend(&labels);
    folder.write("x.safetensors", &bytes);
    let got = folder.json("eval binary --scores x.safetensors:s --targets x.safetensors:t");
    let loss = BinaryHinge::new().labels(LabelEncoding::ZeroOne);
    let expected = Device::cpu().evaluate(&loss, &Batch::new(&scores, &labels), &Request::new()).unwrap();
    close(&got["value"], expected.value.unwrap(), 1e-12);
    assert_eq!(got["options"]["labels"], "zero-one");
}

#[test]
fn bad_elements_are_named_by_their_place_in_the_file() {
    let (folder, mut random) = (Folder::new(), Random(5));
    let n = 1_500_000;
    folder.f32("s.npy", &format!("({n},)"), &random.scores(n));
    let mut labels = vec![1i64; n];
    labels[3] = -1;
    labels[1_400_001] = 5;
    folder.i64("t.npy", &labels);
    let mut weights = vec![1f32; n];
    folder.f32("w.npy", &format!("({n},)"), &weights);
    let files = "eval binary --scores s.npy --targets t.npy --grad-out g.npy";
    folder.fails(files, 1, &["t.npy", "targets[1400001]", "got 5"]);
    labels[1_400_001] = 1;
    folder.i64("t.npy", &labels);
    weights[1_300_000] = -2.0;
    folder.f32("w.npy", &format!("({n},)"), &weights);
    folder.fails(&format!("{files} --sample-weights w.npy"), 1, &["w.npy", "sample weights[1300000]", "-2"]);
    folder.fails(&format!("{files} --sample-weights w.npy --reduction sum"), 1, &["w.npy", "sample weights[1300000]"]);
    let columns = 4;
    folder.f32("r.npy", &format!("({}, {columns})", n / columns), &random.scores(n));
    let mut classes = vec![1i64; n / columns];
    classes[370_000] = 4;
    folder.i64("c.npy", &classes);
    folder.fails("eval multiclass --scores r.npy --targets c.npy", 1, &["c.npy", "targets[370000]", "got 4"]);
}

#[test]
fn memory_does_not_grow_with_the_files() {
    let folder = Folder::new();
    let n = 64 << 20;
    sparse(&folder, "s.npy", "<f4", n, 4, &[0]);
    let mut file = std::fs::File::create(folder.path("t.npy")).unwrap();
    file.write_all(&npy("|i1", &format!("({n},)"), false, &[])).unwrap();
    for _ in 0..n / (1 << 20) {
        file.write_all(&[1; 1 << 20]).unwrap();
    }
    file.seek(SeekFrom::End(-1)).unwrap();
    file.write_all(&[255]).unwrap();
    let got = folder.json("eval binary --scores s.npy --targets t.npy");
    assert_eq!((&got["value"], &got["options"]["labels"]), (&1.0.into(), &"plus-minus-one".into()));
    if let Some(peak) = got["peak_memory_bytes"].as_u64() {
        // The files hold 320 MiB.
        assert!(peak < 100 << 20, "{peak} bytes");
    }
}

/// A file of zeros that takes no space on disk, except for its last bytes.
fn sparse(folder: &Folder, name: &str, dtype: &str, elements: u64, bytes: u64, last: &[u8]) {
    let header = npy(dtype, &format!("({elements},)"), false, &[]);
    let mut file = std::fs::File::create(folder.path(name)).unwrap();
    file.write_all(&header).unwrap();
    file.set_len(header.len() as u64 + elements * bytes).unwrap();
    file.seek(SeekFrom::End(-(last.len() as i64))).unwrap();
    file.write_all(last).unwrap();
}

#[test]
fn more_samples_than_32_bits_count() {
    let folder = Folder::new();
    let n = (1 << 32) + 3;
    sparse(&folder, "s.npy", "<f4", n, 4, &[0]);
    // Zeros are labels, and so is the one at the end.
    sparse(&folder, "t.npy", "|i1", n, 1, &[1]);
    let got = folder.json("eval binary --scores s.npy --targets t.npy --labels zero-one --reduction sum");
    assert_eq!((&got["count"], &got["active"]), (&n.into(), &n.into()));
    assert_eq!((&got["value"], &got["weight_sum"]), (&(n as f64).into(), &(n as f64).into()));
}
