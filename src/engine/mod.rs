//! Where losses meet backends. Every evaluation passes through here, from a device, a metric or the program; only the
//! engines of training call their backend directly. The scores are prepared according to their kind, a backend
//! evaluates the loss's [`crate::loss::Loss::spec`], and errors are put in a fixed order.

mod kept;
#[cfg(not(feature = "gpu"))]
mod no_gpu;
mod scores;

use self::kept::Kept;
use crate::cpu;
use crate::data::batch::Batch;
use crate::data::evaluation::{Buffers, Evaluation, FloatsMut, Output, Request};
use crate::data::weights;
use crate::error::{Error, Input, Result};
#[cfg(feature = "gpu")]
use crate::gpu;
use crate::loss::{Loss, Pattern, Spec, TargetRowsFormula, TargetRowsSpec};
#[cfg(not(feature = "gpu"))]
use no_gpu as gpu;

pub(crate) use gpu::Pending;
pub(crate) use scores::PreparedBatch;

#[derive(Clone, Copy)]
pub(crate) enum Backend<'a> {
    Cpu,
    #[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "never built without the feature gpu"))]
    Gpu(&'a gpu::Gpu),
}

/// Evaluates a loss over a batch, into the caller's buffers if given.
///
/// # Errors
/// As [`crate::Device::evaluate_into`].
pub(crate) fn evaluate_into(
    backend: Backend<'_>,
    loss: &dyn Loss,
    batch: &Batch<'_>,
    request: &Request,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let mut request = *request;
    request.losses |= buffers.losses.is_some();
    request.gradient |= buffers.gradient.is_some();
    let spec = &loss.spec();
    spec.check()?;
    request.check()?;
    if let Some(kept) = Kept::of(spec, batch)? {
        let evaluation = pollster::block_on(evaluate_kept(backend, spec, batch, &request, &kept))?;
        return into_buffers(evaluation, buffers);
    }
    if !PreparedBatch::is_needed(batch) {
        return evaluate_as_it_is(backend, spec, batch, &request, buffers);
    }
    let prepared = PreparedBatch::new(spec, batch)?;
    if prepared.has_own_scores() {
        return evaluate_as_it_is(backend, spec, &prepared.batch(batch), &request, buffers);
    }
    // The gradient must pass through the chain rule before it is copied to the caller.
    into_buffers(pollster::block_on(evaluate_prepared(backend, spec, batch, &request, &prepared))?, buffers)
}

fn into_buffers(mut evaluation: Evaluation, mut buffers: Buffers<'_>) -> Result<Evaluation> {
    move_to(buffers.losses.take(), &mut evaluation.losses, Input::LossesBuffer)?;
    move_to(buffers.gradient.take(), &mut evaluation.gradient, Input::GradientBuffer)?;
    Ok(evaluation)
}

/// Evaluates a batch without its ignored samples.
async fn evaluate_kept(
    backend: Backend<'_>,
    spec: &Spec<'_>,
    batch: &Batch<'_>,
    request: &Request,
    kept: &Kept,
) -> Result<Evaluation> {
    let batch = &kept.batch(batch);
    let evaluation = match PreparedBatch::new(spec, batch) {
        Ok(prepared) => evaluate_prepared(backend, spec, batch, request, &prepared).await,
        Err(error) => Err(error),
    };
    evaluation.map(|evaluation| kept.spread(evaluation)).map_err(|error| kept.place(error))
}

fn evaluate_as_it_is(
    backend: Backend<'_>,
    spec: &Spec<'_>,
    batch: &Batch<'_>,
    request: &Request,
    buffers: Buffers<'_>,
) -> Result<Evaluation> {
    let evaluation = match backend {
        Backend::Cpu => cpu::evaluate(spec, batch, request, buffers),
        Backend::Gpu(gpu) => pollster::block_on(gpu::evaluate(gpu, spec, batch, request, buffers)),
    };
    evaluation.or_else(|error| pollster::block_on(targets_first(backend, spec, batch, error)))
}

/// As [`evaluate_into`] without buffers, and without blocking in a browser.
pub(crate) async fn evaluate(
    backend: Backend<'_>,
    loss: &dyn Loss,
    batch: &Batch<'_>,
    request: &Request,
) -> Result<Evaluation> {
    let spec = &loss.spec();
    spec.check()?;
    request.check()?;
    if let Some(kept) = Kept::of(spec, batch)? {
        return evaluate_kept(backend, spec, batch, request, &kept).await;
    }
    evaluate_prepared(backend, spec, batch, request, &PreparedBatch::new(spec, batch)?).await
}

async fn evaluate_prepared(
    backend: Backend<'_>,
    spec: &Spec<'_>,
    batch: &Batch<'_>,
    request: &Request,
    prepared: &PreparedBatch,
) -> Result<Evaluation> {
    let batch = &prepared.batch(batch);
    match evaluate_raw(backend, spec, batch, request).await {
        Ok(evaluation) => Ok(prepared.chain(evaluation)),
        Err(error) => targets_first(backend, spec, batch, error).await,
    }
}

async fn evaluate_raw(
    backend: Backend<'_>,
    spec: &Spec<'_>,
    batch: &Batch<'_>,
    request: &Request,
) -> Result<Evaluation> {
    match backend {
        Backend::Cpu => cpu::evaluate(spec, batch, request, Buffers::new()),
        Backend::Gpu(gpu) => gpu::evaluate(gpu, spec, batch, request, Buffers::new()).await,
    }
}

/// Makes the error order fixed: bad targets before bad weights. Which of the two a driver meets first depends on the
/// request and on how it cuts the batch. So after a bad weight the batch is evaluated again without weights.
async fn targets_first(backend: Backend<'_>, spec: &Spec<'_>, batch: &Batch<'_>, error: Error) -> Result<Evaluation> {
    if error.input() == Some(Input::SampleWeights) && matches!(error, Error::Value { .. }) {
        let unweighted = Batch { sample_weights: None, ..*batch };
        if let Err(of_targets) = evaluate_raw(backend, spec, &unweighted, &Request::new()).await
            && of_targets.input() == Some(Input::Targets)
        {
            return Err(of_targets);
        }
    }
    Err(error)
}

/// The number of kept samples of a host batch, and the sum of their weights (their number if there are no weights). The
/// latter, added up over the parts of a larger batch, is the divisor of its mean. Reads only targets and weights, so
/// the batch may lack scores; then losses over lists or rows of targets need weights, by which the samples are counted.
///
/// # Errors
/// As [`Loss::check_batch`] if there are scores. [`Error::Length`] for weights that do not fit the targets,
/// [`Error::Shape`] if nothing determines the number of samples or a row has fewer than 2 classes, [`Error::Value`] for
/// a bad weight, or for a bad class index if the loss reads class indices, and [`Error::WrongDevice`] or
/// [`Error::Option`] for data on a device.
pub fn weigh(loss: &dyn Loss, batch: &Batch<'_>) -> Result<(u64, f64)> {
    let kept = Kept::of(&loss.spec(), batch)?;
    let batch = &kept.as_ref().map_or(*batch, |kept| kept.batch(batch));
    let pattern = loss.pattern();
    let samples = match batch.is_empty() {
        true => samples_without_scores(batch, &loss.spec())?,
        false => loss.check_batch(batch, &Request::new())?.samples,
    };
    let totals = match pattern {
        Pattern::Rows => weights::kept_totals(batch, batch.check_scores(2)?.1, loss.ignore_index())?,
        _ => weights::totals(batch, samples)?,
    };
    Ok((totals.count, totals.weight_sum))
}

/// The number of samples of a batch without scores: the number of targets for elementwise losses and class indices,
/// else that of weights, if there are any.
fn samples_without_scores(batch: &Batch<'_>, spec: &Spec<'_>) -> Result<usize> {
    let targets = batch.targets.len();
    let ignores_classes =
        |spec: &TargetRowsSpec| spec.formula == TargetRowsFormula::Categorical && spec.ignore_index.is_some();
    match (spec.shader().pattern, batch.sample_weights) {
        (Pattern::Elementwise | Pattern::Rows, _) => batch.check_lengths(targets, "target").map(|()| targets),
        // Rows of targets cannot be ignored, so these are class indices.
        _ if matches!(spec, Spec::TargetRows(spec) if ignores_classes(spec)) => Ok(targets),
        (_, Some(weights)) => {
            let (samples, columns) = (weights.len(), batch.columns.unwrap_or(1));
            // Triplets have no targets, cosine pairs one per sample, rows of targets one per sample or one per column.
            if [0, samples, samples.saturating_mul(columns)].contains(&targets) {
                return Ok(samples);
            }
            let (input, expected, unit) = (Input::SampleWeights, targets / columns.max(1), "row of targets");
            Err(Error::Length { input, expected, got: samples, unit })
        }
        (Pattern::Vectors, None) => Ok(targets),
        (_, None) if targets == 0 => Ok(0),
        (_, None) => {
            let (expected, got) =
                ("(N, L), or weights that give the number of samples".into(), "neither scores nor weights".into());
            Err(Error::Shape { input: Input::Scores, expected, got })
        }
    }
}

/// Begins to compute the sums of a batch on a GPU and leaves them there; `None` on the CPU.
pub(crate) async fn accumulate(
    backend: Backend<'_>,
    loss: &dyn Loss,
    batch: &Batch<'_>,
    request: &Request,
) -> Result<Option<Vec<Pending>>> {
    match backend {
        Backend::Cpu => Ok(None),
        Backend::Gpu(gpu) => {
            let spec = &loss.spec();
            spec.check()?;
            let kept = Kept::of(spec, batch)?;
            let batch = &kept.as_ref().map_or(*batch, |kept| kept.batch(batch));
            let place = |error| match &kept {
                Some(kept) => kept.place(error),
                None => error,
            };
            let prepared = PreparedBatch::new(spec, batch).map_err(place)?;
            gpu::accumulate(gpu, spec, &prepared.batch(batch), request).await.map(Some).map_err(place)
        }
    }
}

fn move_to(callers: Option<FloatsMut<'_>>, output: &mut Option<Output>, input: Input) -> Result<()> {
    let Some(callers) = callers else { return Ok(()) };
    match (callers, output.take()) {
        (FloatsMut::F32(to), Some(Output::F32(from))) => copy(to, &from, input),
        (FloatsMut::F64(to), Some(Output::F64(from))) => copy(to, &from, input),
        (callers, output) => {
            let expected = if matches!(output, Some(Output::F64(_))) { "f64" } else { "f32" };
            Err(Error::ElementType { input, expected, got: callers.type_name() })
        }
    }
}

fn copy<T: Copy>(to: &mut [T], from: &[T], input: Input) -> Result<()> {
    if to.len() != from.len() {
        return Err(Error::Length { input, expected: from.len(), got: to.len(), unit: "element" });
    }
    to.copy_from_slice(from);
    Ok(())
}
