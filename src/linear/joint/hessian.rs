//! Newton's equations of all classes together: (R + sum of J_i (x) x x') d = -g over the rows whose multipliers change with
//! their violations. J_i, (classes x classes), is how the row's part of V does.

use nalgebra::DMatrix;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::JointProblem;
use crate::cpu::dispatch::vectorize;
use crate::cpu::gemm::{Gemm, Strided};
use crate::data::memory::{check_room, filled};
use crate::error::Result;
use crate::linear::hessian::{GATHERED, MOST_GRAM, conjugate_gradients, factored};
use crate::linear::solved::{Dense, Entries, SolvedRows};

/// Rows that are gathered at a time for products.
const GATHERED_FOR_PRODUCTS: usize = 256;

/// Parts whose sums of (classes x columns) are kept at a time.
const PARTS: usize = 16;

/// Rows whose multipliers are strictly inside their bounds.
#[derive(Default)]
pub(super) struct Inside {
    rows: Vec<InsideRow>,
    /// The classes inside, row by row.
    classes: Vec<u32>,
}

struct InsideRow {
    row: u32,
    /// Where its classes begin.
    first: u32,
    count: u32,
    /// Whether the sum of the multipliers stays.
    keeps_sum: bool,
    /// What a multiplier grows by per violation.
    factor: f64,
}

impl Inside {
    /// `keeps_sum` says which rows the bound of their sum holds.
    pub(super) fn new(problem: &JointProblem<'_>, kappa: f64, multipliers: &[f64], keeps_sum: &[bool]) -> Self {
        let mut inside = Self::default();
        for (row, (multipliers, &keeps_sum)) in multipliers.chunks_exact(problem.classes).zip(keeps_sum).enumerate() {
            let (cost, first) = (problem.cost(row), inside.classes.len());
            let cap = if problem.bounds_sum { f64::INFINITY } else { cost };
            let classes = multipliers.iter().zip(0u32..).filter(|(m, _)| **m > 0.0 && **m < cap);
            inside.classes.extend(classes.map(|(_, class)| class));
            let mut count = inside.classes.len() - first;
            if keeps_sum && count == 1 {
                inside.classes.truncate(first);
                count = 0;
            }
            if count > 0 {
                let (row, first, count) = (row as u32, first as u32, count as u32);
                inside.rows.push(InsideRow { row, first, count, keeps_sum, factor: kappa * cost });
            }
        }
        inside
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    fn classes_of(&self, row: &InsideRow) -> &[u32] {
        &self.classes[row.first as usize..(row.first + row.count) as usize]
    }

    /// The direction that Newton's equations give, and how many rows were read for it. `ridge` is R's diagonal.
    pub(super) fn direction(
        &self,
        problem: &JointProblem<'_>,
        ridge: &[f64],
        gradient: &[f64],
    ) -> Result<(Vec<f64>, usize)> {
        if problem.width() <= MOST_GRAM {
            let lower = self.gram(problem)?;
            if let Some(direction) = factored(&lower, &|k, _| ridge[k], 1.0, gradient) {
                return Ok((direction, self.len()));
            }
        }
        let product = |v: &[f64]| self.product(problem, ridge, v);
        let diagonal = problem.space.matrix.sparse().map(|_| self.diagonal(problem, ridge));
        let (direction, steps) = conjugate_gradients(&product, gradient, diagonal.as_deref());
        Ok((direction, steps * self.len()))
    }

    /// The lower half of the sum.
    fn gram(&self, problem: &JointProblem<'_>) -> Result<DMatrix<f64>> {
        let (classes, width) = (problem.classes, problem.space.width());
        check_room(8 * (problem.width() * problem.width() + 2 * width * GATHERED))?;
        // The rows that a block (j, k), j >= k, has, with their elements of J.
        let place = |j: u32, k: u32| (j.max(k) * (j.max(k) + 1) / 2 + j.min(k)) as usize;
        let mut lists: Vec<Vec<(u32, f64)>> = vec![Vec::new(); classes * (classes + 1) / 2];
        for inside in &self.rows {
            let (own, of_row) = (problem.own[inside.row as usize], self.classes_of(inside));
            for (at, &j) in of_row.iter().enumerate() {
                if inside.keeps_sum {
                    let share = inside.factor / f64::from(inside.count);
                    lists[place(j, j)].push((inside.row, inside.factor - share));
                    of_row[..at].iter().for_each(|&k| lists[place(j, k)].push((inside.row, -share)));
                } else {
                    lists[place(j, j)].push((inside.row, inside.factor));
                    lists[place(j, own)].push((inside.row, -inside.factor));
                }
            }
            if !inside.keeps_sum {
                lists[place(own, own)].push((inside.row, inside.factor * f64::from(inside.count)));
            }
        }
        let pairs: Vec<(usize, usize)> = (0..classes).flat_map(|j| (0..=j).map(move |k| (j, k))).collect();
        let block = |list: &Vec<(u32, f64)>| -> Result<Vec<f64>> {
            let mut sums = vec![0.0; width * width];
            let (mut scaled, mut plain) = (Vec::new(), Vec::new());
            let space = &problem.space;
            for part in list.chunks(GATHERED) {
                let ones: Vec<(u32, f64)> = part.iter().map(|(row, _)| (*row, 1.0)).collect();
                for (list, to) in [(part, &mut scaled), (&ones[..], &mut plain)] {
                    to.resize(part.len() * width, 0.0);
                    space.matrix.gather(list, [space.shift, space.scale], space.constant(), to);
                }
                let (scaled, plain) = (Strided::new(&scaled, width), Strided::new(&plain, width));
                f64::product(width, part.len(), width, scaled.transposed(), plain, 1.0, &mut sums);
            }
            Ok(sums)
        };
        let blocks = lists.par_iter().map(block).collect::<Result<Vec<Vec<f64>>>>()?;
        let mut lower = DMatrix::zeros(problem.width(), problem.width());
        for ((j, k), block) in pairs.into_iter().zip(blocks) {
            for (row, numbers) in block.chunks_exact(width).enumerate() {
                let most = if j == k { row + 1 } else { width };
                for (column, number) in numbers[..most].iter().enumerate() {
                    lower[(j * width + row, k * width + column)] = *number;
                }
            }
        }
        Ok(lower)
    }

    /// The diagonal of the matrix of sparse rows.
    fn diagonal(&self, problem: &JointProblem<'_>, ridge: &[f64]) -> Vec<f64> {
        let (space, width) = (&problem.space, problem.space.width());
        let mut diagonal = ridge.to_vec();
        let Some(sparse) = space.matrix.sparse() else { return diagonal };
        for row in &self.rows {
            let mut add = |class: u32, factor: f64| {
                let of_class = &mut diagonal[class as usize * width..][..width];
                sparse.add_squares(row.row as usize, factor, space.scale, of_class);
                of_class[width - 1] += factor * space.constant() * space.constant();
            };
            let kept = if row.keeps_sum { row.factor / f64::from(row.count) } else { 0.0 };
            self.classes_of(row).iter().for_each(|&class| add(class, row.factor - kept));
            if !row.keeps_sum {
                add(problem.own[row.row as usize], row.factor * f64::from(row.count));
            }
        }
        diagonal
    }

    fn product(&self, problem: &JointProblem<'_>, ridge: &[f64], v: &[f64]) -> Vec<f64> {
        let (space, width) = (&problem.space, problem.space.width());
        if let Some(rows) = space.matrix.sparse() {
            return self.product_of_sparse(problem, Entries { rows, constant: space.constant() }, ridge, v);
        }
        let of_part = |rows: &[InsideRow]| {
            let (mut sums, mut x) = (vec![0.0; v.len()], Vec::new());
            for rows in rows.chunks(GATHERED_FOR_PRODUCTS) {
                let list: Vec<(u32, f64)> = rows.iter().map(|row| (row.row, 1.0)).collect();
                x.resize(rows.len() * width, 0.0);
                space.matrix.gather(&list, [space.shift, space.scale], space.constant(), &mut x);
                vectorize(AddProducts {
                    inside: self,
                    problem,
                    rows,
                    x: Dense(&x),
                    place: |index, _| index,
                    v,
                    sums: &mut sums,
                });
            }
            sums
        };
        let size = self.len().div_ceil(PARTS).max(GATHERED_FOR_PRODUCTS);
        let mut result: Vec<f64> = v.iter().zip(ridge).map(|(v, ridge)| v * ridge).collect();
        for part in self.rows.par_chunks(size).map(of_part).collect::<Vec<_>>() {
            result.iter_mut().zip(&part).for_each(|(sum, x)| *sum += x);
        }
        result
    }

    /// As above. The rows stay in the units that they are stored in.
    fn product_of_sparse(&self, problem: &JointProblem<'_>, x: Entries<'_>, ridge: &[f64], v: &[f64]) -> Vec<f64> {
        let (scale, width) = (problem.space.scale, problem.space.width());
        let in_stored_units = |v: &mut [f64]| {
            for v in v.chunks_exact_mut(width) {
                v.iter_mut().zip(scale).for_each(|(v, scale)| *v *= scale);
            }
        };
        let mut stored = v.to_vec();
        in_stored_units(&mut stored);
        let of_part = |rows: &[InsideRow]| {
            let mut sums = vec![0.0; v.len()];
            let (place, v, sums_of_part) = (|_, row| row, &stored, &mut sums);
            vectorize(AddProducts { inside: self, problem, rows, x, place, v, sums: sums_of_part });
            sums
        };
        let size = x.rows.listed_rows(self.len(), problem.space.matrix.columns * problem.classes);
        let mut result = vec![0.0; v.len()];
        for part in self.rows.par_chunks(size).map(of_part).collect::<Vec<_>>() {
            result.iter_mut().zip(&part).for_each(|(sum, x)| *sum += x);
        }
        in_stored_units(&mut result);
        result.iter_mut().zip(v.iter().zip(ridge)).for_each(|(sum, (v, ridge))| *sum += v * ridge);
        result
    }
}

/// Adds the products of rows' parts of the matrix with a vector.
struct AddProducts<'a, R> {
    inside: &'a Inside,
    problem: &'a JointProblem<'a>,
    rows: &'a [InsideRow],
    x: R,
    /// Where x has a row, from its place in `rows` and in the problem.
    place: fn(usize, usize) -> usize,
    v: &'a [f64],
    sums: &'a mut [f64],
}

impl<R: SolvedRows> WithSimd for AddProducts<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { inside, problem, rows, x, place: place_of, v, sums } = self;
        let width = problem.space.width();
        let place = |class: usize| class * width..(class + 1) * width;
        let mut changes = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let at = place_of(index, row.row as usize);
            let (own, classes) = (problem.own[row.row as usize] as usize, inside.classes_of(row));
            let of_own = if row.keeps_sum { 0.0 } else { x.dot(at, &v[place(own)]) };
            changes.clear();
            changes.extend(classes.iter().map(|&class| x.dot(at, &v[place(class as usize)]) - of_own));
            if row.keeps_sum {
                let mean = changes.iter().sum::<f64>() / f64::from(row.count);
                changes.iter_mut().for_each(|change| *change -= mean);
            }
            for (&class, change) in classes.iter().zip(&changes) {
                x.add(at, row.factor * change, &mut sums[place(class as usize)]);
            }
            if !row.keeps_sum {
                x.add(at, -row.factor * changes.iter().sum::<f64>(), &mut sums[place(own)]);
            }
        }
    }
}

/// Memory for as many numbers as a problem has multipliers.
pub(super) fn per_multiplier(problem: &JointProblem<'_>) -> Result<Vec<f64>> {
    filled(0.0, problem.space.rows().saturating_mul(problem.classes))
}
