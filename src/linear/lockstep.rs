//! Several binary problems over the same features, solved side by side: a product of all rows with a vector, which is
//! bound by memory, becomes one with as many vectors as there are problems that wait for one.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rayon::prelude::*;

use super::OnGpu;
use super::certificate::certify_all;
use super::course::{FitProgress, Limits, OnProgress};
use super::descent::descend;
use super::newton::{Solver, Start, Wanted, multipliers_near};
use super::problem::Problem;
use super::space::Space;
use crate::cpu::linear::Matrix;
use crate::error::Result;

/// Bytes that the solvers side by side may need, unless one alone needs more.
const MOST_BYTES: usize = 1 << 30;

/// The most solvers side by side.
const MOST_SOLVERS: usize = 64;

/// Rows in the first parts that a large problem is started on: each a sixty-fourth and an eighth of all.
const STARTS: [usize; 2] = [64, 8];

/// A part must have this many rows per column, and this many rows, to say anything about the whole.
const ROWS_PER_COLUMN: usize = 10;
const START_ROWS: usize = 500;

/// The relative gap at which a part has said what it can.
const START_GAP: f64 = 1e-2;

/// How many problems of so many rows and columns are solved side by side.
pub(super) fn side_by_side(rows: usize, columns: usize) -> usize {
    let bytes =
        rows.saturating_mul(Solver::BYTES_PER_ROW).saturating_add(columns.saturating_mul(Solver::BYTES_PER_COLUMN));
    (MOST_BYTES / bytes.max(1)).clamp(1, MOST_SOLVERS)
}

/// Runs solvers until each has ended. False where `on_progress`, which is told the sums of their progress and the largest
/// gap, stopped them.
pub(super) fn run(solvers: &mut [Solver<'_>], on_progress: &mut OnProgress<'_>) -> Result<bool> {
    let mut goes_on = true;
    while solvers.iter().any(|solver| !solver.is_done()) {
        let (mut wanted, mut outputs) = (Vec::new(), Vec::new());
        let mut space: Option<Space<'_>> = None;
        for solver in solvers.iter_mut() {
            space = Some(solver.problem.space);
            if let Some((product, output)) = solver.wanted() {
                wanted.push(product);
                outputs.push(output);
            }
        }
        if let (Some(space), false) = (space, wanted.is_empty()) {
            multiply(&space.matrix, &wanted, &mut outputs);
            solvers.par_iter_mut().try_for_each(Solver::advance)?;
            let all = solvers.iter().map(|solver| solver.course.progress);
            goes_on &= on_progress(all.fold(FitProgress { gap: 0.0, ..FitProgress::NONE }, |sum, of| FitProgress {
                gap: sum.gap.max(of.gap),
                ..of.after(sum)
            }));
            if !goes_on {
                solvers.iter_mut().for_each(Solver::stop);
            }
        } else {
            certify(solvers)?;
        }
    }
    Ok(goes_on)
}

/// Computes the products that solvers wait for.
fn multiply(matrix: &Matrix<'_>, wanted: &[Wanted<'_>], outputs: &mut [&mut [f64]]) {
    let vectors: Vec<&[f64]> = wanted.iter().map(|wanted| wanted.vector.as_slice()).collect();
    matrix.map_products(&vectors, outputs, &|vector, rows, products| {
        let Wanted { offset, base, signs, .. } = &wanted[vector];
        for (product, &sign) in products.iter_mut().zip(&signs[rows]) {
            *product = base - f64::from(sign) * (*product + offset);
        }
    });
}

/// Computes the certificates that solvers wait for.
fn certify(solvers: &mut [Solver<'_>]) -> Result<()> {
    let candidates: Vec<_> = solvers.iter().filter_map(Solver::to_certify).collect();
    let started = Instant::now();
    let certificates = certify_all(&candidates)?;
    let took = started.elapsed() / candidates.len().max(1) as u32;
    let waiting = solvers.iter_mut().filter(|solver| solver.to_certify().is_some());
    for (solver, (certificate, decisions)) in waiting.zip(certificates) {
        solver.certified(certificate, decisions, took);
    }
    Ok(())
}

/// Solves problems over the same features from the given weights, or from those that parts of their rows lead to.
pub(super) fn solve_all<'p>(
    problems: &[Problem<'p>],
    starts: Option<Vec<Vec<f64>>>,
    limits: Limits,
    on_gpu: Option<&mut OnGpu>,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<Solver<'p>>> {
    let Some(Problem { space, .. }) = problems.first() else { return Ok(Vec::new()) };
    let mut progress = vec![FitProgress::NONE; problems.len()];
    let starts = match (on_gpu, starts) {
        (Some(on_gpu), starts) => {
            let starts = match starts {
                Some(starts) => starts.into_iter().map(Start::Weights).collect(),
                None if has_few_rows(space) => problems.iter().map(|_| Start::Zero).collect(),
                // All rows cost a device little: a small part says enough.
                None => start_by_parts(problems, &STARTS[..1], &mut progress, limits, on_progress)?,
            };
            start_on_gpu(on_gpu, problems, starts, &mut progress, limits, on_progress)?
        }
        (None, starts) => start_on_cpu(problems, starts, &mut progress, limits, on_progress)?,
    };
    let solvers = problems.iter().zip(starts).zip(progress);
    let solvers = solvers.map(|((problem, start), before)| Solver::new(*problem, start, before, limits));
    let mut solvers = solvers.collect::<Result<Vec<Solver<'p>>>>()?;
    run(&mut solvers, on_progress)?;
    Ok(solvers)
}

/// Where the CPU's solvers start.
fn start_on_cpu(
    problems: &[Problem<'_>],
    starts: Option<Vec<Vec<f64>>>,
    progress: &mut [FitProgress],
    limits: Limits,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<Start>> {
    let Some(Problem { space, .. }) = problems.first() else { return Ok(Vec::new()) };
    match starts {
        Some(starts) if starts_by_descent(space) => {
            let near =
                problems.iter().zip(starts).map(|(problem, w)| Ok((*problem, Some(multipliers_near(problem, &w)?))));
            start_by_descent(near.collect::<Result<_>>()?, progress, limits, on_progress)
        }
        Some(starts) => Ok(starts.into_iter().map(Start::Weights).collect()),
        None if starts_by_descent(space) => {
            let problems = problems.iter().map(|problem| (*problem, None)).collect();
            start_by_descent(problems, progress, limits, on_progress)
        }
        None => start_by_parts(problems, &STARTS, progress, limits, on_progress),
    }
}

/// Where problems, one after the other, get to on a GPU. Those for which f32 is of no use start on the CPU. Those of few rows per
/// column that fall short of the gap go on from there by descent.
fn start_on_gpu(
    on_gpu: &mut OnGpu,
    problems: &[Problem<'_>],
    starts: Vec<Start>,
    progress: &mut [FitProgress],
    limits: Limits,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<Start>> {
    let mut reached = Vec::new();
    for (place, (problem, start)) in problems.iter().zip(starts).enumerate() {
        let (before, own) = progress.split_at_mut(place);
        let (before, own) = (before.iter().fold(FitProgress::NONE, |sum, of| of.after(sum)), &mut own[..1]);
        let mut told = |now: FitProgress| on_progress(now.after(before));
        let mut of_cpu = [FitProgress::NONE];
        let start = match on_gpu.approach(problem, start, &mut own[0], limits, &mut told)? {
            None => start_on_cpu(std::slice::from_ref(problem), None, &mut of_cpu, limits, &mut told)?,
            Some((Start::Near { multipliers, .. }, false)) if has_few_rows(&problem.space) => {
                let problems = vec![(*problem, Some(multipliers))];
                start_by_descent(problems, &mut of_cpu, limits, &mut told)?
            }
            Some((start, _)) => vec![start],
        };
        own[0] = of_cpu[0].after(own[0]);
        reached.extend(start);
    }
    Ok(reached)
}

/// Solves the problems of solvers that have ended with another C.
pub(super) fn go_on_with(
    solvers: &mut [Solver<'_>],
    c: f64,
    limits: Limits,
    on_gpu: Option<&mut OnGpu>,
    on_progress: &mut OnProgress<'_>,
) -> Result<()> {
    let Some(Solver { problem: Problem { space, .. }, .. }) = solvers.first() else { return Ok(()) };
    if let Some(on_gpu) = on_gpu {
        let problems: Vec<Problem<'_>> = solvers.iter().map(|solver| Problem { c, ..solver.problem }).collect();
        let starts = solvers.iter().map(|solver| Start::Weights(solver.best_weights().to_vec())).collect();
        let mut progress = vec![FitProgress::NONE; solvers.len()];
        let starts = start_on_gpu(on_gpu, &problems, starts, &mut progress, limits, on_progress)?;
        for (((solver, problem), start), before) in solvers.iter_mut().zip(problems).zip(starts).zip(progress) {
            *solver = Solver::new(problem, start, before, limits)?;
        }
    } else if starts_by_descent(space) {
        let scaled = |solver: &mut Solver<'_>| {
            let ratio = c / solver.problem.c;
            solver.problem.c = c;
            let mut multipliers = solver.take_multipliers();
            multipliers.iter_mut().for_each(|a| *a *= ratio);
            multipliers
        };
        let multipliers: Vec<Vec<f64>> = solvers.iter_mut().map(scaled).collect();
        let problems = solvers.iter().zip(multipliers).map(|(solver, a)| (solver.problem, Some(a))).collect();
        let mut progress = vec![FitProgress::NONE; solvers.len()];
        let starts = start_by_descent(problems, &mut progress, limits, on_progress)?;
        for ((solver, start), before) in solvers.iter_mut().zip(starts).zip(progress) {
            *solver = Solver::new(solver.problem, start, before, limits)?;
        }
    } else {
        solvers.par_iter_mut().try_for_each(|solver| solver.go_on_with(c, limits))?;
    }
    run(solvers, on_progress).map(|_| ())
}

/// Whether a problem starts by descent, which reads its rows in turn.
fn starts_by_descent(space: &Space<'_>) -> bool {
    space.matrix.sparse().is_some() || has_few_rows(space)
}

/// Whether there are few rows per column.
pub(super) fn has_few_rows(space: &Space<'_>) -> bool {
    space.rows() < ROWS_PER_COLUMN * space.matrix.columns
}

/// Multipliers near the optima, from those given or from 0.
fn start_by_descent(
    problems: Vec<(Problem<'_>, Option<Vec<f64>>)>,
    progress: &mut [FitProgress],
    limits: Limits,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<Start>> {
    let told = Mutex::new((progress, on_progress, true));
    let start = |(index, (problem, start)): (usize, (Problem<'_>, Option<Vec<f64>>))| {
        let mut on_look = |passes: f64, gap: f64| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            let (all, on_progress, goes_on) = &mut *told;
            all[index].passes = passes;
            let passes = all.iter().map(|of| of.passes).sum();
            *goes_on &= on_progress(FitProgress { passes, newton_steps: 0, gap });
            *goes_on && all[index].passes < limits.max_passes
        };
        Ok(Start::Multipliers(descend(&problem, start, limits.gap, &mut on_look)?))
    };
    problems.into_par_iter().enumerate().map(start).collect()
}

/// The weights that solve parts of the rows, a share of one in so many each.
fn start_by_parts(
    problems: &[Problem<'_>],
    parts: &[usize],
    progress: &mut [FitProgress],
    limits: Limits,
    on_progress: &mut OnProgress<'_>,
) -> Result<Vec<Start>> {
    let space = &problems[0].space;
    let mut starts: Vec<Option<Vec<f64>>> = vec![None; problems.len()];
    for &part in parts {
        let rows = space.rows() / part;
        if has_few_rows(&Space { matrix: Matrix { rows, ..space.matrix }, ..*space }) || rows < START_ROWS {
            continue;
        }
        // One row of every `part`, at a place that varies.
        let list: Vec<u32> = (0..rows).map(|row| (row * part + row * 7919 % part) as u32).collect();
        let copied = space.matrix.copied(&list)?;
        let matrix = Matrix { elements: copied.elements(), rows, ..space.matrix };
        let signs: Vec<Vec<i8>> = problems.iter().map(|problem| listed(problem.signs, &list)).collect();
        let weights: Vec<Vec<f64>> = problems.iter().map(|problem| listed(problem.weights, &list)).collect();
        let (mut solvers, mut places) = (Vec::new(), Vec::new());
        for (place, problem) in problems.iter().enumerate() {
            let (signs, weights) = (&signs[place], &weights[place]);
            if !(signs.contains(&1) && signs.contains(&-1)) || weights.iter().all(|&weight| weight == 0.0) {
                continue;
            }
            let space = Space { matrix, ..problem.space };
            let part_problem = Problem { space, signs, weights, c: problem.c * part as f64, ..*problem };
            let start = starts[place].take().map_or(Start::Zero, Start::Weights);
            let of_part = Limits { gap: START_GAP.max(limits.gap), ..limits };
            solvers.push(Solver::new(part_problem, start, progress[place], of_part)?);
            places.push(place);
        }
        let goes_on = run(&mut solvers, &mut |now| on_progress(FitProgress { gap: f64::INFINITY, ..now }))?;
        for (place, solver) in places.into_iter().zip(solvers) {
            let solution = solver.solution();
            // A pass over a part is that part of a pass.
            let passes = (solution.progress.passes - progress[place].passes) / part as f64;
            progress[place].passes += passes;
            progress[place].newton_steps = solution.progress.newton_steps;
            starts[place] = Some(solution.w);
        }
        if !goes_on {
            break;
        }
    }
    Ok(starts.into_iter().map(|start| start.map_or(Start::Zero, Start::Weights)).collect())
}

fn listed<T: Copy>(all: &[T], list: &[u32]) -> Vec<T> {
    list.iter().map(|&row| all[row as usize]).collect()
}
