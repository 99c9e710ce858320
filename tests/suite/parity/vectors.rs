//! The parity tests of losses with two or three vectors per sample.

use half::f16;
use maxmargin::{Batch, Device, Error, Floats, Reduction, Request};

use crate::cases::Values;
use crate::cases::vectors::{VECTORS_KINDS, VectorsCase, VectorsKind, check_vectors};
use crate::harness::Outcome;

pub(crate) fn run_vectors(case: &VectorsCase, device: &Device) -> Result<(), String> {
    let explain = |error: String| {
        format!(
            "{:?} {} x {} {:?} {:?}: {error}",
            case.kind,
            case.samples(),
            case.dimensions,
            case.options,
            case.reduction
        )
    };
    match case.evaluate(device, &case.request()) {
        Ok(evaluation) => check_vectors(case, &evaluation).map_err(explain),
        // A mean over nothing has its own tests.
        Err(Error::EmptyMean { .. } | Error::ZeroWeight { .. })
            if case.sample_weights.as_ref().map_or(case.samples() == 0, |w| w.iter().all(|&w| w == 0.0)) =>
        {
            Ok(())
        }
        Err(error) => Err(explain(error.to_string())),
    }
}

/// Every loss of vectors, with every distance, size and kind of value.
pub(crate) fn vectors(device: &Device, double: bool) -> Outcome {
    let mut failures = Vec::new();
    let mut seed = 5000;
    for &kind in VECTORS_KINDS {
        for (samples, dimensions) in [
            (0, 3),
            (1, 1),
            (2, 3),
            (63, 4),
            (255, 5),
            (257, 16),
            (100, 33),
            (40, 257),
            (9, 1025),
            (5, 5000),
            (3000, 8),
        ] {
            for values in [Values::Plain, Values::Plain, Values::Spicy] {
                seed += 1;
                let case = VectorsCase { double, ..VectorsCase::random(kind, samples, dimensions, values, seed) };
                failures.extend(run_vectors(&case, device).err());
            }
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("{} cases fail, first: {}", failures.len(), failures[0]).into())
    }
}

/// Half precision and f32 vectors, resident on a GPU or not, give the same bits in every run. Invalid ones are refused.
pub(crate) fn vectors_elsewhere(device: &Device) -> Outcome {
    for (seed, &kind) in (6000..).zip(VECTORS_KINDS) {
        let mut case = VectorsCase::random(kind, 501, 7, Values::Plain, seed);
        case.vectors.iter_mut().flatten().for_each(|x| *x = f16::from_f32(*x).into());
        let halves = case.vectors.each_ref().map(|x| x.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>());
        let weights = case.sample_weights.as_ref().map(Floats::from);
        let halves = halves.each_ref().map(Floats::from);
        let got = case.evaluate_on(device, halves, weights, &case.request())?;
        check_vectors(&case, &got)?;
        if let Device::Gpu(gpu) = device {
            for floats in [halves, case.vectors.each_ref().map(Floats::from)] {
                let resident =
                    [gpu.upload_floats(floats[0])?, gpu.upload_floats(floats[1])?, gpu.upload_floats(floats[2])?];
                let got = case.evaluate_on(device, resident.each_ref().map(Floats::from), weights, &case.request())?;
                check_vectors(&case, &got)?;
                if !matches!(got.gradient, Some(maxmargin::Output::Device(_))) {
                    return Err("the gradient left the device".into());
                }
            }
        }
        let bits = || -> Result<Vec<u64>, Error> {
            let got = case.evaluate(device, &case.request())?;
            let gradient = got.gradient.map_or(Ok(vec![]), |x| x.to_f64())?;
            Ok(gradient.iter().chain(&got.value).map(|x| x.to_bits()).collect())
        };
        if bits()? != bits()? {
            return Err(format!("{kind:?} differs between runs").into());
        }
    }
    let x = [1.0f32; 6];
    let refused = |result: Result<maxmargin::Evaluation, Error>, text: &str| match result {
        Err(error) if error.to_string().contains(text) => Ok(()),
        other => Err(format!("expected {text:?}, got {other:?}")),
    };
    let (request, triplet, cosine) =
        (Request::new(), maxmargin::TripletMargin::new(), maxmargin::CosineEmbedding::new());
    refused(device.evaluate(&triplet, &Batch::triplets(&x, &x, &x[1..], 3), &request), "negatives")?;
    refused(device.evaluate(&triplet, &Batch::triplets(&x, &x, &x, 4), &request), "not a multiple of 4")?;
    refused(device.evaluate(&triplet, &Batch::triplets(&x, &x, &x, 0), &request), "at least one component")?;
    refused(device.evaluate(&triplet, &Batch::vector_pairs(&x, &x, 3, &[1i8, 1]), &request), "3 vectors a sample")?;
    refused(device.evaluate(&cosine, &Batch::triplets(&x, &x, &x, 3), &request), "2 vectors a sample")?;
    refused(device.evaluate(&cosine, &Batch::vector_pairs(&x, &x, 3, &[1i8]), &request), "expected 2 elements")?;
    refused(device.evaluate(&cosine, &Batch::vector_pairs(&x, &x, 3, &[1.0f32, f32::NAN]), &request), "targets[1]")?;
    let norm = |p| maxmargin::Distance::Norm { p, epsilon: 0.0 };
    for p in [0.5, f64::NAN, -1.0] {
        let loss = triplet.clone().distance(norm(p));
        refused(device.evaluate(&loss, &Batch::triplets(&x, &x, &x, 3), &request), "option p")?;
    }
    Ok(())
}

/// Distances beyond f32 still have a direction, and so has the largest of many powers.
pub(crate) fn vectors_far_apart(device: &Device) -> Outcome {
    let (far, zero) = ([2e38f32; 4], [0f32; 4]);
    let request = Request::new().gradient();
    let norm = |p| maxmargin::Distance::Norm { p, epsilon: 0.0 };
    let triplet = maxmargin::TripletMargin::new();
    // The distance to the positive is 4e38. To the negative it is 0, where every direction is equally valid.
    let got =
        device.evaluate(&triplet.clone().distance(norm(2.0)), &Batch::triplets(&far, &zero, &far, 4), &request)?;
    let gradient = got.gradient.ok_or("no gradient")?.to_f64()?;
    let expected = [[0.5; 4], [-0.5; 4], [0.0; 4]].concat();
    if gradient.iter().zip(&expected).any(|(g, e)| (g - e).abs() > 1e-6) || gradient.len() != 12 {
        return Err(format!("far apart: {gradient:?}").into());
    }
    let (x, zero, other) = ([1.0f32, 1.0, 0.25], [0f32; 3], [3f32; 3]);
    for p in [3.0, 100.0, 1e4, 1e7, 1e17] {
        let loss = triplet.clone().margin(100.0).distance(norm(p));
        let got = device.evaluate(&loss, &Batch::triplets(&x, &zero, &other, 3), &request)?;
        // Two equal components share the slope: (1 / 2^(1/p))^(p - 1), less the third component's share.
        let third = 0.25f64.powf(p);
        let share = (2.0 + third).powf(-(1.0 - 1.0 / p));
        let gradient = got.gradient.ok_or("no gradient")?.to_f64()?;
        if gradient[3..5].iter().any(|g| (g + share).abs() > 1e-5) {
            return Err(format!("p {p}: {:?} instead of -{share}", &gradient[3..5]).into());
        }
    }
    Ok(())
}

/// Each kind of comparison of vectors must notice a perturbed result.
pub(crate) fn vectors_negative_controls(device: &Device) -> Outcome {
    for &kind in VECTORS_KINDS {
        let case = VectorsCase::random(kind, 300, 6, Values::Plain, 7);
        let case = VectorsCase { reduction: Reduction::Mean, ..case };
        let good = case.evaluate(device, &case.request())?;
        check_vectors(&case, &good)?;
        let nudged = |output: &Option<maxmargin::Output>| -> Result<_, Error> {
            let mut x = output.as_ref().map_or(Ok(vec![]), |x| x.to_f64())?;
            let i = (0..x.len()).max_by(|&a, &b| x[a].total_cmp(&x[b])).unwrap_or(0);
            x[i] *= 1.0002;
            Ok(Some(maxmargin::Output::F64(x)))
        };
        let mut bad = [good.clone(), good.clone(), good.clone(), good.clone()];
        bad[0].value = good.value.map(|v| v * 1.0002);
        bad[1].losses = nudged(&good.losses)?;
        bad[2].gradient = nudged(&good.gradient)?;
        bad[3].active += 5;
        let noticed = bad.map(|bad| check_vectors(&case, &bad).is_err());
        if noticed != [true; 4] {
            return Err(format!("{kind:?} unnoticed: {noticed:?}").into());
        }
    }
    Ok(())
}

pub(crate) fn vectors_finite_differences() -> Outcome {
    for (seed, &kind) in (300..).zip(VECTORS_KINDS.iter().cycle().take(60)) {
        let case = VectorsCase { reduction: Reduction::Sum, ..VectorsCase::random(kind, 7, 4, Values::Plain, seed) };
        let vectors = case.vectors.each_ref().map(|x| x.iter().map(|&x| x.into()).collect::<Vec<f64>>());
        let weights = case.sample_weights.as_ref().map(Floats::from);
        let value = |vectors: &[Vec<f64>; 3], request: &Request| {
            case.evaluate_on(&Device::cpu(), vectors.each_ref().map(Floats::from), weights, request)
        };
        let request = Request::new().reduction(Reduction::Sum);
        let gradient = value(&vectors, &request.gradient())?.gradient.ok_or("no gradient")?.to_f64()?;
        let step = 1e-6;
        let blocks = if kind == VectorsKind::Cosine { 2 } else { 3 };
        for (i, g) in gradient.iter().enumerate() {
            let (block, element) = (i / vectors[0].len(), i % vectors[0].len());
            let at = |delta: f64| {
                let mut moved = vectors.clone();
                moved[block][element] += delta;
                value(&moved, &request).map(|e| e.value.unwrap_or(f64::NAN))
            };
            let difference = (at(step)? - at(-step)?) / (2.0 * step);
            if (difference - g).abs() > 1e-5 * (1.0 + difference.abs()) {
                return Err(format!("{kind:?} {seed}: gradient[{i}] = {g}, difference {difference}").into());
            }
        }
        if gradient.len() != blocks * vectors[0].len() {
            return Err(format!("{} elements in the gradient", gradient.len()).into());
        }
    }
    Ok(())
}
