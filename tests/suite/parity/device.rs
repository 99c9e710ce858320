//! Tests for GPUs only: tensors and buffers on the device, its limits, and its loss.

use half::f16;
use libtest_mimic::Trial;
use maxmargin::gpu::{AdapterDescription, DeviceTensor, ElementType, Exchange, Gpu, GpuOptions};
use maxmargin::{
    Batch, BinaryHinge, Device, Error, Evaluation, Input, LabelEncoding, MulticlassHinge, Output, Reduction, Request,
};

use super::run;
use super::vectors::run_vectors;
use crate::cases::vectors::{VECTORS_KINDS, VectorsCase};
use crate::cases::{Case, KINDS, Kind, Random, Values, check, compare};
use crate::harness::{Outcome, label, on_adapter, open, open_alone};

pub(crate) fn trials(adapter: &AdapterDescription) -> Vec<Trial> {
    let (index, label) = (adapter.index, label(adapter));
    let opened = |name: &str, test: fn(usize) -> Outcome| Trial::test(format!("[{label}] {name}"), move || test(index));
    // On other devices `max_binding_bytes` replaces the device's own limit, in the trial of small bindings.
    let limit = adapter.limits.max_storage_buffer_binding_size;
    let is_small = limit <= 256 << 20;
    let over_limit = if is_small { String::new() } else { format!(": {limit} bytes are too many to fill") };
    let has_subgroups = adapter.features.contains(wgpu::Features::SUBGROUP);
    let mut trials = on_adapter(
        adapter,
        &[
            ("resident tensors", resident),
            ("a caller's own buffers", own_buffers),
            ("uploads of many pieces, from many threads", uploads),
            ("host data of several chunks", chunks),
        ],
    );
    trials.extend([
        opened("host data of several chunks, of every loss", small_chunks),
        opened("a lost device is an error", lost_device),
        opened("over a row of workgroups and small bindings", beyond_limits),
        opened("rows shared by lanes", shared_rows),
        opened("rows out of workgroup memory", staged_rows),
        opened("long rows shared by workgroups", rows_of_workgroups),
        opened("lanes that exchange through workgroup memory alone", without_subgroups),
        opened("subgroups of another size are an error", other_subgroups).with_ignored_flag(!has_subgroups),
        opened(&format!("over the binding limit{over_limit}"), beyond_real_binding).with_ignored_flag(!is_small),
    ]);
    trials
}

/// Tensors on the device, windows with shifts, validation on the device, and a caller's own device and buffer.
fn resident(device: &Device) -> Outcome {
    let Device::Gpu(gpu) = device else { return Err("not a GPU".into()) };
    for (seed, &kind) in (50..).zip(KINDS) {
        let case = Case::random(kind, 3001, 6, Values::Plain, seed);
        let got = evaluate_placed(&case, gpu, None)?;
        check(&case, &got, device)?;
        if !matches!(got.gradient, Some(Output::Device(_))) {
            return Err("the gradient left the device".into());
        }
    }
    let bad = gpu.upload_i32(&[1, -1, 1, 5, 0])?;
    let scores = gpu.upload_f32(&[0.0; 5])?;
    match device.evaluate(&BinaryHinge::new(), &Batch::new(&scores, &bad), &Request::new()) {
        Err(Error::Value { input: Input::Targets, index: 3, value, .. }) if value == "5" => {}
        other => return Err(format!("{other:?}").into()),
    }
    let own = Gpu::from_wgpu(gpu.device().clone(), gpu.queue().clone(), GpuOptions::default())?;
    let (buffer, _) = scores.buffer().ok_or("no buffer")?;
    let part = own.wrap_buffer(buffer, 4, 3, ElementType::F32)?;
    let value =
        Device::from(own).evaluate(&BinaryHinge::new(), &Batch::new(&part, &[1i8, 1, 1]), &Request::new())?.value;
    if value != Some(1.0) {
        return Err(format!("{value:?}").into());
    }
    Ok(())
}

/// Data passes the ring of staging buffers unchanged: sizes near a buffer's and the ring's, sizes that are not whole
/// words, and several threads at once.
fn uploads(device: &Device) -> Outcome {
    let Device::Gpu(gpu) = device else { return Err("not a GPU".into()) };
    let elements: Vec<f32> = (0..(10 << 20) + 17).map(|i| (i % 9_999_991) as f32).collect();
    let same = |part: &[f32]| match gpu.upload_f32(part).and_then(|tensor| tensor.read_f32()) {
        Ok(read) if read == part => Ok(()),
        Ok(read) => {
            let at = read.iter().zip(part).position(|(read, own)| read != own);
            Err(format!("{} of {} elements, other than they were from {at:?}", read.len(), part.len()))
        }
        Err(error) => Err(error.to_string()),
    };
    for words in [(1 << 18) - 1, 1 << 18, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, elements.len()] {
        same(&elements[elements.len() - words..])?;
    }
    std::thread::scope(|scope| {
        let parts = (0..4).map(|i| &elements[i << 20..(i + 3) << 20]);
        let threads: Vec<_> = parts.map(|part| scope.spawn(|| same(part))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    // The bytes end within a word. The last label is one of the few wrong ones.
    let mut labels = vec![1i8; (5 << 20) + 3];
    labels[5 << 20] = -1;
    labels[(5 << 20) + 2] = -1;
    let (scores, labels) = (gpu.upload_f32(&vec![0.25; labels.len()])?, gpu.upload_labels(&labels)?);
    let found = device.evaluate(&BinaryHinge::new(), &Batch::new(&scores, &labels), &Request::new())?;
    match (found.correct, found.count) {
        (Some(correct), count) if count - correct == 2 => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// A batch uploaded in several chunks gives the same as one on the device; indices count from the batch's start.
fn chunks(device: &Device) -> Outcome {
    let Device::Gpu(gpu) = device else { return Err("not a GPU".into()) };
    let samples = (9 << 20) + 5;
    let scores: Vec<f32> = (0..samples).map(|i| (i % 4093) as f32 / 1024.0 - 2.0).collect();
    let mut labels: Vec<i8> = (0..samples).map(|i| if i % 3 == 0 { 1 } else { -1 }).collect();
    let request = Request::new().gradient().losses();
    let loss = BinaryHinge::new();
    let (on_host, on_device) = {
        let tensors = (gpu.upload_f32(&scores)?, gpu.upload_labels(&labels)?);
        let resident = Batch::new(&tensors.0, &tensors.1);
        (device.evaluate(&loss, &Batch::new(&scores, &labels), &request)?, device.evaluate(&loss, &resident, &request)?)
    };
    let counts = |e: &Evaluation| (e.count, e.active, e.correct);
    let (value, expected) = (on_host.value.unwrap_or(f64::NAN), on_device.value.unwrap_or(f64::NAN));
    // Lanes add chains of f32, and other chunks divide the chains differently.
    if counts(&on_host) != counts(&on_device) || (value - expected).abs() > 1e-7 * expected {
        return Err(format!("{:?} {value}, not {:?} {expected}", counts(&on_host), counts(&on_device)).into());
    }
    for (what, own, other) in
        [("losses", on_host.losses, on_device.losses), ("gradient", on_host.gradient, on_device.gradient)]
    {
        let (Some(Output::F32(own)), Some(Output::Device(other))) = (own, other) else {
            return Err(format!("{what} are not where the scores were").into());
        };
        if own != other.read_f32()? {
            return Err(format!("other {what}").into());
        }
    }
    labels[(5 << 20) + 1] = 7;
    labels[9 << 20] = 9;
    match device.evaluate(&loss, &Batch::new(&scores, &labels), &request) {
        Err(Error::Value { input: Input::Targets, index, value, .. }) if index == (5 << 20) + 1 && value == "7" => {
            Ok(())
        }
        other => Err(format!("{other:?}").into()),
    }
}

/// Every loss over host data uploaded in chunks of some hundred samples; only some chunks have wild values.
fn small_chunks(index: usize) -> Outcome {
    let device = open(index, |o| o.max_binding_bytes = Some(4096))?;
    for (seed, &kind) in (70..).zip(KINDS) {
        run(&Case::random(kind, 901, 6, Values::Spicy, seed), &device)?;
    }
    for (seed, &kind) in (70..).zip(VECTORS_KINDS) {
        run_vectors(&VectorsCase::random(kind, 501, 6, Values::Spicy, seed), &device)?;
    }
    // Large enough to sort a list of two workgroups, too small for one of four.
    let room = open(index, |o| o.max_binding_bytes = Some(1 << 16))?;
    let lists = |items| Case::random(Kind::Lovasz(LabelEncoding::PlusMinusOne), 5, items, Values::Spicy, 7);
    run(&lists(2000), &room)?;
    match lists(4000).evaluate(&room, &Request::new()) {
        Err(Error::DeviceLimit { what: "items in one list", limit: 3072, got: 4000 }) => {}
        other => return Err(format!("{other:?}").into()),
    }
    // The second bad row is in a later chunk than the first.
    let (scores, weights) = (vec![0.5f32; 6 * 900], vec![1.0f32; 900]);
    let mut classes = vec![0i64; 900];
    (classes[600], classes[800]) = (6, -1);
    let batch = Batch::rows(&scores, 6, &classes).sample_weights(&weights);
    match device.evaluate(&MulticlassHinge::weston_watkins(), &batch, &Request::new().reduction(Reduction::Sum)) {
        Err(Error::Value { input: Input::Targets, index: 600, value, .. }) if value == "6" => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// Evaluates a case from tensors that the device placed, or from a caller's own buffers: input n then begins
/// n * `words_before` words after its buffer's beginning.
fn evaluate_placed(
    case: &Case,
    gpu: &Gpu,
    words_before: Option<u64>,
) -> Result<Evaluation, Box<dyn std::error::Error>> {
    let place = |nth: u64, bytes: &[u8], len: usize, element: ElementType| match (words_before, element) {
        (Some(words), _) => own_buffer(gpu, 4 * nth * words, bytes, len, element),
        (None, ElementType::F16) => gpu.upload_floats(bytemuck::cast_slice::<u8, f16>(bytes)),
        (None, ElementType::I32) => gpu.upload_i32(bytemuck::cast_slice(bytes)),
        (None, _) => gpu.upload_f32(bytemuck::cast_slice(bytes)),
    };
    // Uses half precision if it holds all scores exactly.
    let halves = |x: &[f32]| x.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>();
    let is_half = case.scores.iter().all(|&x| f32::from(f16::from_f32(x)) == x);
    let scores = |nth, x: &[f32]| match is_half {
        true => place(nth, bytemuck::cast_slice(&halves(x)), x.len(), ElementType::F16),
        false => place(nth, bytemuck::cast_slice(x), x.len(), ElementType::F32),
    };
    let integral: Vec<i32> = case.targets.iter().map(|&t| t as i32).collect();
    let targets = match case.is_rows() {
        true => place(3, bytemuck::cast_slice(&integral), integral.len(), ElementType::I32)?,
        false => place(3, bytemuck::cast_slice(&case.targets), integral.len(), ElementType::F32)?,
    };
    let weights = case.sample_weights.as_ref();
    let weights = weights.map(|w| place(4, bytemuck::cast_slice(w), w.len(), ElementType::F32)).transpose()?;
    let (first, second) = (scores(1, &case.scores)?, scores(2, &case.second)?);
    let batch = case.batch(&first, &second, &targets, weights.as_ref());
    Ok(case.evaluate_batch(&Device::from(gpu.clone()), &batch, &case.request())?)
}

/// A buffer that ends with the tensor's last word.
fn own_buffer(gpu: &Gpu, offset: u64, bytes: &[u8], len: usize, element: ElementType) -> Result<DeviceTensor, Error> {
    let mut words = bytes.to_vec();
    words.resize(bytes.len().next_multiple_of(4), 0xff);
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: offset + words.len().max(4) as u64,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    gpu.queue().write_buffer(&buffer, offset, &words);
    gpu.wrap_buffer(&buffer, offset, len, element)
}

/// A caller's buffers that end within four words give the bits of whole quads. Other buffers begin within four words.
fn own_buffers(device: &Device) -> Outcome {
    let Device::Gpu(gpu) = device else { return Err("not a GPU".into()) };
    for (seed, &kind) in (70..).zip(KINDS) {
        let columns = if seed % 3 == 0 { 5 } else { 10 };
        let samples = kind.samples(1001, columns);
        let mut case = Case::random(kind, samples, columns, Values::Plain, seed);
        if seed % 2 == 0 {
            case.scores.iter_mut().chain(&mut case.second).for_each(|x| *x = f16::from_f32(*x).into());
        }
        let explain = |what: &str, error: String| format!("{kind:?}, {columns} columns, {what}: {error}");
        let own = evaluate_placed(&case, gpu, Some(0))?;
        check(&case, &own, device).map_err(|error| explain("ends within four words", error))?;
        let begun = evaluate_placed(&case, gpu, Some(1))?;
        check(&case, &begun, device).map_err(|error| explain("begins within four words", error))?;
        let placed = evaluate_placed(&case, gpu, None)?;
        if own.value != placed.value {
            return Err(explain("value", format!("{:?} and {:?}", own.value, placed.value)).into());
        }
        let read = |output: Option<Output>| output.map_or(Ok(vec![]), |x| x.to_f64());
        for (own, placed) in [(own.losses, placed.losses), (own.gradient, placed.gradient)] {
            compare(&explain("outputs", String::new()), &read(own)?, &read(placed)?, |_| 0.0)?;
        }
    }
    Ok(())
}

/// More workgroups than fit along one dimension of a dispatch, and over one binding's limit.
fn beyond_limits(index: usize) -> Outcome {
    let samples = 65_536 * 256 + 3;
    let mut random = Random::new(9);
    let scores: Vec<f32> = (0..samples).map(|_| Values::Dyadic.draw(&mut random)).collect();
    let labels: Vec<i8> = (0..samples).map(|_| if random.below(2) == 0 { -1 } else { 1 }).collect();
    let exact: f64 = scores.iter().zip(&labels).map(|(&s, &t)| (1.0 - f64::from(t) * f64::from(s)).max(0.0)).sum();
    let request = Request::new().reduction(Reduction::Sum);
    // 1024 samples per workgroup, and more workgroups than fit along one dimension.
    let device = open(index, |o| (o.chains_per_lane, o.max_workgroups) = (Some(1), Some(16_383)))?;
    let value = device.evaluate(&BinaryHinge::new(), &Batch::new(&scores, &labels), &request)?.value;
    compare("16,385 workgroups", &[value.unwrap_or(0.0)], &[exact], |_| 0.0)?;
    // The same data as rows of one large tensor on the device, which takes many bindings.
    let device = open(index, |o| o.max_binding_bytes = Some(1 << 20))?;
    let Device::Gpu(gpu) = &device else { return Err("not a GPU".into()) };
    let tensor = gpu.upload_f32(&scores)?;
    let got = device.evaluate(&BinaryHinge::new(), &Batch::new(&tensor, &labels[..]), &request);
    // Host labels and device scores in one batch.
    compare("many bindings", &[got?.value.unwrap_or(0.0)], &[exact], |_| 0.0)?;
    Ok(())
}

/// Beyond the device's own binding limit, if that is small enough to reach.
fn beyond_real_binding(index: usize) -> Outcome {
    let device = open_alone(index)?;
    let Device::Gpu(gpu) = &device else { return Err("not a GPU".into()) };
    let samples = (gpu.description().limits.max_storage_buffer_binding_size / 4) as usize + 1001;
    let scores: Vec<f32> = (0..samples).map(|i| (i % 33) as f32 / 8.0 - 2.0).collect();
    let targets = vec![1i8; samples];
    let exact: f64 = scores.iter().map(|&s| (1.0 - f64::from(s)).max(0.0)).sum();
    let tensor = gpu.upload_f32(&scores)?;
    let got = device.evaluate(
        &BinaryHinge::new(),
        &Batch::new(&tensor, &targets),
        &Request::new().reduction(Reduction::Sum).gradient(),
    )?;
    compare("value", &[got.value.unwrap_or(0.0)], &[exact], |_| 0.0)?;
    let gradient = got.gradient.ok_or("no gradient")?.to_f64()?;
    let expected: Vec<f64> = scores.iter().map(|&s| if s < 1.0 { -1.0 } else { 0.0 }).collect();
    compare("gradient", &gradient, &expected, |_| 0.0)?;
    Ok(())
}

/// After a device is lost, every call gives an error, never a panic.
fn lost_device(index: usize) -> Outcome {
    let device = open_alone(index)?;
    let Device::Gpu(gpu) = &device else { return Err("not a GPU".into()) };
    let scores = gpu.upload_f32(&[0.5; 1000])?;
    let labels = vec![1i8; 1000];
    let evaluate = || device.evaluate(&BinaryHinge::new(), &Batch::new(&scores, &labels), &Request::new().gradient());
    evaluate()?;
    // More than the ring of staging buffers holds.
    let large = vec![1.0; 10 << 20];
    gpu.upload_f32(&large)?;
    gpu.device().destroy();
    for _ in 0..2 {
        match evaluate() {
            Err(Error::DeviceLost { .. }) => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    for elements in [&large[..1], &large] {
        match gpu.upload_f32(elements) {
            Err(Error::DeviceLost { .. }) => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    // A lost device on which nothing has run.
    let Device::Gpu(other) = open_alone(index)? else { return Err("not a GPU".into()) };
    other.device().destroy();
    match other.upload_f32(&large) {
        Err(Error::DeviceLost { .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// The kinds whose rows can be divided over any number of lanes.
const ROWS: [Kind; 5] = [Kind::CrammerSinger, Kind::WestonWatkins, Kind::OneVsAll, Kind::LeeLinWahba, Kind::TopK];

/// As many lanes share a row as on a GPU, where a software adapter would use one lane per row.
fn shared_rows(index: usize) -> Outcome {
    for lanes in [4, 256] {
        let device = open(index, |options| options.lanes_per_row = Some(lanes))?;
        for (values, first_seed) in [(Values::Plain, 1000), (Values::Spicy, 2000), (Values::Large, 3000)] {
            let sizes = ROWS.iter().flat_map(|&kind| [(300, 3), (257, 10), (70, 33)].map(|size| (kind, size)));
            for (seed, (kind, (samples, columns))) in (first_seed..).zip(sizes) {
                run(&Case::random(kind, samples, columns, values, seed), &device)?;
            }
        }
    }
    Ok(())
}

/// Rows that each lane reads from workgroup memory: one stage of columns and several, a whole number and not, several
/// turns per lane, and more columns than a GPU would handle this way.
fn staged_rows(index: usize) -> Outcome {
    let device = open(index, |options| options.staged_rows = Some(true))?;
    let sizes: [&[_]; 3] = [&[(257, 10), (5000, 16), (3, 300)], &[(300, 3), (70, 33)], &[(257, 10)]];
    let values = [(Values::Plain, 11_000), (Values::Spicy, 12_000), (Values::Large, 13_000)];
    for ((values, first_seed), sizes) in values.into_iter().zip(sizes) {
        // Top-k always uses teams.
        let kinds = ROWS.iter().filter(|&&kind| kind != Kind::TopK);
        let cases = kinds.flat_map(|&kind| sizes.iter().map(move |&size| (kind, size)));
        for (seed, (kind, (samples, columns))) in (first_seed..).zip(cases) {
            run(&Case::random(kind, samples, columns, values, seed), &device)?;
        }
    }
    Ok(())
}

/// Long rows that several workgroups share: a requested number, more workgroups than parts of the row, and the device's
/// own choice. With small bindings a batch takes several dispatches.
fn rows_of_workgroups(index: usize) -> Outcome {
    for (workgroups, binding) in [(Some(3), None), (Some(256), Some(64 << 10)), (None, None)] {
        let device = open(index, |options| {
            (options.workgroups_per_row, options.max_binding_bytes) = (workgroups, binding);
            options.lanes_per_row = workgroups.map(|_| 256);
        })?;
        let sizes = match workgroups {
            Some(3) => [(70, 33), (5, 4099)],
            // Some workgroups have no column, and the rows take several dispatches.
            Some(_) => [(4, 33), (5, 1031)],
            None => [(2, 20_000), (1, 600_001)],
        };
        for (values, first_seed) in [(Values::Plain, 6000), (Values::Spicy, 7000), (Values::Large, 8000)] {
            let cases = ROWS.iter().flat_map(|&kind| sizes.map(|size| (kind, size)));
            // Top-k walks over a row too often for the loops of some drivers.
            let cases = cases.filter(|&(kind, (_, columns))| kind != Kind::TopK || columns < 100_000);
            for (seed, (kind, (samples, columns))) in (first_seed..).zip(cases) {
                run(&Case::random(kind, samples, columns, values, seed), &device)?;
            }
        }
    }
    // A bad label is reported once, with its index in the whole batch.
    let device = open(index, |options| options.workgroups_per_row = Some(4))?;
    let Device::Gpu(gpu) = &device else { return Err("not a GPU".into()) };
    let (scores, labels) = (gpu.upload_f32(&[0.0; 3 * 5000])?, gpu.upload_i32(&[4999, 5000, -1])?);
    match device.evaluate(&MulticlassHinge::one_vs_all(), &Batch::rows(&scores, 5000, &labels), &Request::new()) {
        Err(Error::Value { input: Input::Targets, index: 1, value, .. }) if value == "5000" => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// Lanes exchange data only through workgroup memory, as on devices without subgroups.
fn without_subgroups(index: usize) -> Outcome {
    for (values, first_seed, lanes) in [(Values::Plain, 4000, 4), (Values::Spicy, 5000, 256)] {
        let device = open(index, |options| {
            (options.exchange, options.lanes_per_row) = (Some(Exchange::Workgroup), Some(lanes));
        })?;
        for (seed, &kind) in (first_seed..).zip(KINDS) {
            run(&Case::random(kind, kind.samples(1000, 10), 10, values, seed), &device)?;
        }
    }
    Ok(())
}

/// A kernel that expects other subgroups than the device has reports an error.
fn other_subgroups(index: usize) -> Outcome {
    let device = open(index, |_| {})?;
    let Device::Gpu(gpu) = &device else { return Err("not a GPU".into()) };
    let twice = 2 * gpu.description().subgroup_sizes.1;
    let device = open(index, |options| options.exchange = Some(Exchange::Subgroups(twice)))?;
    match device.evaluate(&BinaryHinge::new(), &Batch::new(&[0.5f32; 1000], &[1i8; 1000]), &Request::new()) {
        Err(Error::Gpu { message, .. }) if message.contains("Exchange::Workgroup") => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}
