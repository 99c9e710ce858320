//! Several classes in one problem: minimise 1/2 ||W||^2 + sum of h_i over the weights W of all classes.
//!
//! For a row with class y and decision values s_j = w_j x, the violation of another class j is u_j = 1 + s_j - s_y.
//!
//! | | h(u) | multipliers of the other classes |
//! |---|---|---|
//! | Crammer and Singer | c max(0, max of u_j) | 0 or more, their sum at most c |
//! | Weston and Watkins | c sum of max(0, u_j) | each from 0 to c |
//!
//! The dual value of multipliers m is the sum of all m - 1/2 ||V||^2, where row i adds -m_j x to V_j for every other class j
//! and (sum of m_j) x to V_y. The gap is 1/2 ||W - V||^2 + sum of (h(u) - <m, u>): no term of it is negative. See Crammer
//! and Singer, "On the algorithmic implementation of multiclass kernel-based vector machines" (2001), and Weston and
//! Watkins, "Support vector machines for multi-class pattern recognition" (1999).
//!
//! A row's multipliers lie in a set of their own; apart from the map onto it (`row.rs`), both are solved as the binary
//! problems are.

mod certificate;
mod descent;
mod hessian;
mod newton;
mod row;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

pub(super) use self::newton::{Start, solve};
use super::space::Space;

/// How more than two classes are solved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Multiclass {
    /// Each class against the rest, a problem of its own: LIBLINEAR's and LinearSVC's default.
    #[default]
    OneVsRest,
    /// All classes in one problem, in which a row costs as much as its worst violation. For the hinge alone.
    CrammerSinger,
    /// All classes in one problem, in which a row costs as much as the sum of its violations. For the hinge alone.
    WestonWatkins,
}

/// Elements of (rows x classes) that a thread takes at a time. It does not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// The violation of a row's own class, which is none: its multiplier is 0 whatever the factor.
const NEVER: f64 = -1e300;

/// Features against classes.
#[derive(Clone, Copy)]
pub(super) struct JointProblem<'a> {
    pub(super) space: Space<'a>,
    /// The place of each row's class.
    pub(super) own: &'a [u32],
    /// The weight of the row times that of its class.
    pub(super) weights: &'a [f64],
    pub(super) c: f64,
    /// The number of classes.
    pub(super) classes: usize,
    /// Whether the sum of a row's multipliers is bounded (Crammer and Singer), or each.
    pub(super) bounds_sum: bool,
}

impl JointProblem<'_> {
    fn rows(&self) -> usize {
        self.space.rows()
    }

    /// The factor of a row's loss.
    fn cost(&self, row: usize) -> f64 {
        self.c * self.weights[row]
    }

    /// Rows that a thread takes at a time.
    fn chunk(&self) -> usize {
        (CHUNK / self.classes).max(16)
    }

    /// The length of the weights of all classes.
    fn width(&self) -> usize {
        self.classes * self.space.width()
    }

    fn penalty(&self, w: &[f64]) -> f64 {
        w.chunks_exact(self.space.width()).map(|w| self.space.penalty(w)).sum()
    }

    /// Writes the violations at weights, row-major (rows x classes), or their change along a direction.
    fn violations(&self, w: &[f64], is_change: bool, to: &mut [f64]) {
        let (vectors, offsets) = self.in_stored_units(w);
        let vectors: Vec<&[f64]> = vectors.iter().map(Vec::as_slice).collect();
        let base = if is_change { 0.0 } else { 1.0 };
        self.space.matrix.products_by_row(&vectors, to, &|row, values| {
            let own = self.own[row] as usize;
            let shift = base - (values[own] + offsets[own]);
            values.iter_mut().zip(&offsets).for_each(|(value, offset)| *value += offset + shift);
            values[own] = if is_change { 0.0 } else { NEVER };
        });
    }

    /// Weights of the stored features, and constants, of each class.
    fn in_stored_units(&self, w: &[f64]) -> (Vec<Vec<f64>>, Vec<f64>) {
        w.chunks_exact(self.space.width()).map(|w| self.space.in_stored_units(w)).unzip()
    }

    /// Adds what multipliers, or their changes, add to V. Each is given with its class and row.
    fn add(&self, changes: &[Change], image: &mut [f64]) {
        let mut lists: Vec<Vec<(u32, f64)>> = vec![Vec::new(); self.classes];
        for &Change { class, row, by } in changes {
            lists[class as usize].push((row, -by));
            // Changes of a row come one after the other.
            let own = &mut lists[self.own[row as usize] as usize];
            match own.last_mut() {
                Some((last, sum)) if *last == row => *sum += by,
                _ => own.push((row, by)),
            }
        }
        for (list, image) in lists.iter().zip(image.chunks_exact_mut(self.space.width())) {
            self.space.add(list, image);
        }
    }

    /// The multipliers that are not 0.
    fn changes_of(&self, multipliers: &[f64]) -> Vec<Change> {
        let rows = |(index, rows): (usize, &[f64])| {
            let mut list = Vec::new();
            for (row, multipliers) in (index * self.chunk()..).zip(rows.chunks_exact(self.classes)) {
                for (class, &by) in multipliers.iter().enumerate().filter(|(_, by)| **by != 0.0) {
                    list.push(Change { class: class as u32, row: row as u32, by });
                }
            }
            list
        };
        let lists: Vec<Vec<Change>> =
            multipliers.par_chunks(self.chunk() * self.classes).enumerate().map(rows).collect();
        lists.concat()
    }
}

/// The change of a multiplier.
#[derive(Clone, Copy)]
struct Change {
    class: u32,
    row: u32,
    by: f64,
}
