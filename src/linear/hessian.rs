//! Newton's equations: (R + factor * sum of weight x x' over the rows inside their bounds) d = -g, with R the identity but for
//! a free intercept.
//!
//! Up to [`MOST_GRAM`] columns the sum is kept as a matrix, from which rows that leave are taken and to which rows that
//! enter are added, and Cholesky's factorization solves it. Beyond that, conjugate gradients take a product with the rows
//! inside per step; where they took many, or few rows are inside, a factorization costs less.

use nalgebra::DMatrix;
use rayon::prelude::*;

use super::cholesky;
use super::problem::Problem;
use super::space::Space;
use crate::cpu::gemm::{Gemm, Strided};
use crate::cpu::linear::{Matrix, add_one, dot};
use crate::data::memory::{check_room, filled};
use crate::error::Result;

/// The most columns, with the intercept's, of a sum that is kept as a matrix: 8 MB.
pub(super) const MOST_GRAM: usize = 1024;

/// As [`MOST_GRAM`], of sparse rows: a product with them costs little.
const MOST_GRAM_OF_SPARSE: usize = 256;

/// Rows that are gathered at a time.
pub(super) const GATHERED: usize = 1024;

/// Columns of the matrix that a thread computes at a time.
const TILE: usize = 64;

/// The most columns of a sum that a thread computes as a whole, of some rows.
const MOST_OF_WHOLE: usize = 256;

/// Such sums that are kept at a time.
const PARTS: usize = 64;

/// The most rows and columns of a matrix that is factored in the place of conjugate gradients.
const MOST_FACTORED: usize = 4096;

/// What a number of a row costs in a step of conjugate gradients, in numbers of a product of matrices: it is bound by memory.
const PRODUCT: usize = 16;

/// The steps of conjugate gradients that are expected at first.
const FIRST_STEPS: usize = 30;

/// The weight of a free intercept in R, relative to the largest of its sum: the equations then have a solution where no
/// row is inside.
const LITTLE: f64 = 1e-12;

pub(super) enum Hessian {
    /// The lower half of the sum without the factor.
    Gram { lower: DMatrix<f64>, is_exact: bool },
    Products {
        /// The steps of the last conjugate gradients.
        steps: usize,
    },
}

/// The rows inside their bounds: all of them, and those that entered or left since the last step.
#[derive(Default)]
pub(super) struct Inside {
    pub(super) all: Vec<u32>,
    pub(super) entered: Vec<u32>,
    pub(super) left: Vec<u32>,
}

impl Hessian {
    pub(super) fn new(problem: &Problem<'_>) -> Result<Self> {
        let width = problem.space.width();
        let most = if problem.space.matrix.sparse().is_some() { MOST_GRAM_OF_SPARSE } else { MOST_GRAM };
        if width > most {
            return Ok(Self::Products { steps: FIRST_STEPS });
        }
        // Two matrices, the gathered rows and the tiles.
        check_room(8 * width * (2 * width + 2 * GATHERED + if width <= MOST_OF_WHOLE { PARTS * width } else { 0 }))?;
        let is_exact = matches!(problem.space.matrix.elements, crate::cpu::linear::Elements::F64(_));
        Ok(Self::Gram { lower: DMatrix::zeros(width, width), is_exact })
    }

    /// Follows the rows inside.
    pub(super) fn update(&mut self, problem: &Problem<'_>, inside: &Inside) -> Result<()> {
        let Self::Gram { lower, is_exact } = self else { return Ok(()) };
        if inside.entered.len() + inside.left.len() > inside.all.len() {
            lower.fill(0.0);
            return add_gram(problem, &inside.all, 1.0, *is_exact, lower);
        }
        add_gram(problem, &inside.entered, 1.0, *is_exact, lower)?;
        add_gram(problem, &inside.left, -1.0, *is_exact, lower)
    }

    /// The direction that Newton's equations give, and how many rows were read for it.
    pub(super) fn direction(
        &mut self,
        problem: &Problem<'_>,
        inside: &Inside,
        factor: f64,
        gradient: &[f64],
    ) -> Result<(Vec<f64>, usize)> {
        let space = &problem.space;
        let ridge = |k: usize, largest: f64| ridge(space, k, largest);
        if let Self::Gram { lower, is_exact } = self {
            if let Some(direction) = factored(lower, &ridge, factor, gradient) {
                return Ok((direction, 0));
            }
            if !*is_exact {
                // Rounding took the definiteness of a sum in f32: from here on it is in f64.
                *is_exact = true;
                lower.fill(0.0);
                add_gram(problem, &inside.all, 1.0, true, lower)?;
                if let Some(direction) = factored(lower, &ridge, factor, gradient) {
                    return Ok((direction, inside.all.len()));
                }
            }
        }
        if let Self::Products { steps } = self
            && space.matrix.sparse().is_none()
            && let Some(direction) = instead_of_products(problem, &inside.all, *steps, factor, gradient)?
        {
            return Ok((direction, inside.all.len()));
        }
        let list: Vec<(u32, f64)> =
            inside.all.iter().map(|&row| (row, factor * problem.weights[row as usize])).collect();
        let largest: f64 = list.iter().map(|(_, factor)| factor).sum();
        // Sparse rows that lie apart are copied: each is read many times.
        let copied = space.matrix.sparse().map(|_| space.matrix.copied(&inside.all)).transpose()?;
        let (matrix, list) = match &copied {
            None => (space.matrix, list),
            Some(copied) => {
                let rows = list.len();
                let list = (0..).zip(list).map(|(place, (_, factor))| (place, factor)).collect();
                (Matrix { elements: copied.elements(), rows, ..space.matrix }, list)
            }
        };
        let product = |v: &[f64]| -> Vec<f64> {
            let (stored, offset) = space.in_stored_units(v);
            let mut sums = vec![0.0; space.matrix.columns];
            let total = matrix.add_products(&list, &stored, offset, &mut sums);
            let mut result: Vec<f64> = v.iter().enumerate().map(|(k, v)| ridge(k, largest) * v).collect();
            space.add_stored(&sums, total, &mut result);
            result
        };
        let diagonal = matrix.sparse().map(|rows| {
            let mut diagonal: Vec<f64> = (0..space.width()).map(|k| ridge(k, largest)).collect();
            for &(row, factor) in &list {
                rows.add_squares(row as usize, factor, space.scale, &mut diagonal);
            }
            diagonal[space.matrix.columns] += largest * space.constant() * space.constant();
            diagonal
        });
        let solve = if space.is_free() { conjugate_gradients_of_free } else { conjugate_gradients };
        let (direction, taken) = solve(&product, gradient, diagonal.as_deref());
        if let Self::Products { steps } = self {
            *steps = taken;
        }
        Ok((direction, taken * list.len()))
    }
}

/// The direction by a factorization, where that costs less than conjugate gradients of so many steps.
fn instead_of_products(
    problem: &Problem<'_>,
    rows: &[u32],
    steps: usize,
    factor: f64,
    gradient: &[f64],
) -> Result<Option<Vec<f64>>> {
    let (width, count) = (gradient.len(), rows.len());
    // Both sides are divided by rows x columns; building the matrix and factoring it is on the left.
    let is_cheap = |order: usize, other: usize| {
        order <= MOST_FACTORED && order + order * order / (3 * other.max(1)) < PRODUCT * steps
    };
    if is_cheap(count, width) && !problem.space.is_free() {
        return by_rows(problem, rows, factor, gradient);
    }
    if is_cheap(width, count) {
        check_room(8 * width * (3 * width + GATHERED))?;
        let mut lower = DMatrix::zeros(width, width);
        add_gram(problem, rows, 1.0, true, &mut lower)?;
        return Ok(factored(&lower, &|k, largest| ridge(&problem.space, k, largest), factor, gradient));
    }
    Ok(None)
}

/// The diagonal of R.
fn ridge(space: &Space<'_>, index: usize, largest: f64) -> f64 {
    if space.is_free() && index + 1 == space.width() { LITTLE * largest.max(1.0) } else { 1.0 }
}

/// Cholesky's solution; `None` where the matrix is not positive definite in f64. Its diagonal is scaled to 1 first, so
/// that features of different units do no harm. `ridge` gives R's diagonal from the largest of the sum's.
pub(super) fn factored(
    lower: &DMatrix<f64>,
    ridge: &dyn Fn(usize, f64) -> f64,
    factor: f64,
    gradient: &[f64],
) -> Option<Vec<f64>> {
    let width = gradient.len();
    let largest = factor * (0..width).map(|k| lower[(k, k)]).fold(0.0, f64::max);
    let mut matrix = lower * factor;
    (0..width).for_each(|k| matrix[(k, k)] += ridge(k, largest));
    let roots: Vec<f64> = (0..width).map(|k| matrix[(k, k)].max(f64::MIN_POSITIVE).sqrt()).collect();
    for column in 0..width {
        for row in column..width {
            matrix[(row, column)] /= roots[row] * roots[column];
        }
    }
    let right: Vec<f64> = gradient.iter().zip(&roots).map(|(g, root)| -g / root).collect();
    let solution = cholesky::solve(matrix, &right)?;
    let solution: Vec<f64> = solution.iter().zip(&roots).map(|(x, root)| x / root).collect();
    solution.iter().all(|x| x.is_finite()).then_some(solution)
}

/// Adds `sign` times the sum of c x x' over the listed rows to the lower half of a matrix.
pub(super) fn add_gram(
    problem: &Problem<'_>,
    rows: &[u32],
    sign: f64,
    is_exact: bool,
    lower: &mut DMatrix<f64>,
) -> Result<()> {
    if is_exact {
        add_gram_in::<f64>(problem, rows, sign, lower)
    } else {
        add_gram_in::<f32>(problem, rows, sign, lower)
    }
}

fn add_gram_in<T: Gemm>(problem: &Problem<'_>, rows: &[u32], sign: f64, lower: &mut DMatrix<f64>) -> Result<()> {
    let (width, space) = (problem.space.width(), &problem.space);
    let weighted = |row: &u32| (*row, problem.weights[*row as usize].sqrt());
    // A tile has the columns from `first` on, and of these the rows on and below the diagonal.
    let tile = |gathered: &[T], first: usize| {
        let (columns, from_first) = (TILE.min(width - first), Strided::new(&gathered[first..], width));
        let mut tile = vec![T::ZERO; (width - first) * columns];
        let size = (width - first, gathered.len() / width, columns);
        T::product(size.0, size.1, size.2, from_first.transposed(), from_first, T::ZERO, &mut tile);
        (first, columns, tile)
    };
    let firsts: Vec<usize> = (0..width).step_by(TILE).collect();
    if width <= MOST_OF_WHOLE {
        // A thread computes all tiles of some rows.
        let tiles = |gathered: &mut Vec<T>, rows: &[u32]| -> Vec<(usize, usize, Vec<T>)> {
            let list: Vec<(u32, f64)> = rows.iter().map(weighted).collect();
            gathered.resize(width * rows.len(), T::ZERO);
            space.matrix.gather_here(&list, [space.shift, space.scale], space.constant(), gathered);
            firsts.iter().map(|&first| tile(gathered, first)).collect()
        };
        for rows in rows.chunks(PARTS * GATHERED) {
            let parts: Vec<_> = rows.par_chunks(GATHERED).map_init(Vec::new, tiles).collect();
            parts.iter().flatten().for_each(|tile| add_tile(tile, sign, lower));
        }
        return Ok(());
    }
    let mut gathered = filled(T::ZERO, width * GATHERED.min(rows.len()))?;
    for part in rows.chunks(GATHERED) {
        let list: Vec<(u32, f64)> = part.iter().map(weighted).collect();
        let gathered = &mut gathered[..width * part.len()];
        space.matrix.gather(&list, [space.shift, space.scale], space.constant(), gathered);
        let tiles: Vec<_> = firsts.par_iter().map(|&first| tile(gathered, first)).collect();
        tiles.iter().for_each(|tile| add_tile(tile, sign, lower));
    }
    Ok(())
}

/// The direction by a matrix of (rows inside) x (rows inside), where they are fewer than the columns. With B the rows times
/// the roots of their weights, (I + factor B'B)^-1 g = g - factor B' (I + factor B B')^-1 B g (Woodbury).
fn by_rows(problem: &Problem<'_>, rows: &[u32], factor: f64, gradient: &[f64]) -> Result<Option<Vec<f64>>> {
    let (space, width, count) = (&problem.space, gradient.len(), rows.len());
    check_room(8 * count * (width + 3 * count))?;
    let list: Vec<(u32, f64)> = rows.iter().map(|&row| (row, problem.weights[row as usize].sqrt())).collect();
    let mut gathered = filled(0.0, width * count)?;
    space.matrix.gather(&list, [space.shift, space.scale], space.constant(), &mut gathered);
    let tile = |first: usize| {
        let rows = TILE.min(count - first);
        let mut tile = vec![0.0; (count - first) * rows];
        let from_first = Strided::new(&gathered[first * width..], width);
        f64::product(count - first, width, rows, from_first, from_first.transposed(), 0.0, &mut tile);
        (first, rows, tile)
    };
    let firsts: Vec<usize> = (0..count).step_by(TILE).collect();
    let tiles: Vec<_> = firsts.into_par_iter().map(tile).collect();
    let mut lower = DMatrix::zeros(count, count);
    tiles.iter().for_each(|tile| add_tile(tile, 1.0, &mut lower));
    let products: Vec<f64> = gathered.par_chunks(width).map(|row| dot(row, gradient)).collect();
    let Some(solution) = factored(&lower, &|_, _| 1.0, factor, &products) else { return Ok(None) };
    // `solution` is -(I + factor B B')^-1 B g.
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    gathered.chunks_exact(width).zip(solution).for_each(|(row, x)| add_one(row, -factor * x, &mut direction));
    Ok(Some(direction))
}

/// Adds `sign` times a tile to the lower half of a matrix: rows from `first` on, and so many columns from there on.
fn add_tile<T: Gemm>((first, columns, tile): &(usize, usize, Vec<T>), sign: f64, lower: &mut DMatrix<f64>) {
    for (row, numbers) in tile.chunks_exact(*columns).enumerate() {
        for (column, number) in numbers.iter().take(row + 1).enumerate() {
            lower[(first + row, first + column)] += sign * number.to_f64();
        }
    }
}

/// As [`conjugate_gradients`], where the last weight is that of a free intercept. It is eliminated: for any others it is set
/// to its best value, which amounts to features less their means. Means far from 0 would take many steps.
pub(super) fn conjugate_gradients_of_free(
    product: &dyn Fn(&[f64]) -> Vec<f64>,
    gradient: &[f64],
    diagonal: Option<&[f64]>,
) -> (Vec<f64>, usize) {
    let last = gradient.len() - 1;
    let mut unit = vec![0.0; gradient.len()];
    unit[last] = 1.0;
    let column = product(&unit);
    let mean: Vec<f64> = column[..last].iter().map(|x| x / column[last]).collect();
    let reduced = |mut x: Vec<f64>| -> Vec<f64> {
        let of_last = std::mem::take(&mut x[last]);
        x.iter_mut().zip(&mean).for_each(|(x, mean)| *x -= mean * of_last);
        x
    };
    let product = |v: &[f64]| {
        let mut v = v.to_vec();
        v[last] = -dot(&v[..last], &mean);
        reduced(product(&v))
    };
    let (mut direction, steps) = conjugate_gradients(&product, &reduced(gradient.to_vec()), diagonal);
    direction[last] = -gradient[last] / column[last] - dot(&direction[..last], &mean);
    (direction, steps + 1)
}

/// Conjugate gradients, until the residual is a tenth of the gradient or less. Also gives the number of products. The
/// matrix's diagonal, where it is given, preconditions them (Jacobi).
pub(super) fn conjugate_gradients(
    product: &dyn Fn(&[f64]) -> Vec<f64>,
    gradient: &[f64],
    diagonal: Option<&[f64]>,
) -> (Vec<f64>, usize) {
    let width = gradient.len();
    let conditioned = |residual: &[f64]| -> Vec<f64> {
        match diagonal {
            Some(diagonal) => residual.iter().zip(diagonal).map(|(r, d)| r / d).collect(),
            None => residual.to_vec(),
        }
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norm = dot(gradient, gradient).sqrt();
    let target = norm * norm.sqrt().min(0.1);
    let (mut solution, mut residual) = (vec![0.0; width], gradient.iter().map(|g| -g).collect::<Vec<_>>());
    let mut direction = conditioned(&residual);
    let mut rho = dot(&residual, &direction);
    let mut steps = 0;
    while dot(&residual, &residual).sqrt() > target && steps < 4 * width.min(1000) {
        let image = product(&direction);
        steps += 1;
        let curvature = dot(&direction, &image);
        if curvature <= 0.0 || curvature.is_nan() {
            break;
        }
        let length = rho / curvature;
        for k in 0..width {
            solution[k] += length * direction[k];
            residual[k] -= length * image[k];
        }
        let towards = conditioned(&residual);
        let next = dot(&residual, &towards);
        let share = next / rho;
        direction.iter_mut().zip(&towards).for_each(|(d, r)| *d = r + share * *d);
        rho = next;
    }
    if steps == 0 {
        solution.copy_from_slice(&gradient.iter().map(|g| -g).collect::<Vec<_>>());
    }
    (solution, steps)
}
