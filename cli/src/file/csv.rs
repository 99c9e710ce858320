//! Columns of a .csv file, by header name, or by 0-based number without a header.

use std::path::Path;

use super::elements::{Array, Data};
use super::read_bytes;
use crate::failure::{Failure, Outcome};

pub(super) fn read(path: &Path, columns: &str) -> Outcome<Array> {
    let bytes = read_bytes(path)?;
    let fail = |message: String| Failure::file(path, message);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(bytes.as_slice());
    let mut records = reader.records();
    let first = match records.next() {
        Some(record) => record.map_err(|error| fail(error.to_string()))?,
        None => return Err(fail("the file is empty".into())),
    };
    // A first line with a text field is a header. An empty field is a missing number.
    let has_header = first.iter().any(|field| !field.is_empty() && field.parse::<f64>().is_err());
    let wanted: Vec<(usize, &str)> = columns
        .split(',')
        .map(|name| {
            let found = if has_header {
                first.iter().position(|field| field == name)
            } else {
                name.parse().ok().filter(|&n: &usize| n < first.len())
            };
            let there = || {
                if has_header {
                    first.iter().collect::<Vec<_>>().join(", ")
                } else {
                    format!("0 to {}", first.len() - 1)
                }
            };
            found.map(|n| (n, name)).ok_or_else(|| fail(format!("no column {name:?}; there are {}", there())))
        })
        .collect::<Outcome<_>>()?;
    let mut fields: Vec<String> = Vec::new();
    let own = if has_header { None } else { Some(Ok(first.clone())) };
    let mut rows = 0;
    for record in own.into_iter().chain(records) {
        let record = record.map_err(|error| fail(error.to_string()))?;
        for &(column, name) in &wanted {
            let field = record.get(column).unwrap_or_default();
            if field.parse::<f64>().is_err() {
                return Err(fail(format!("row {rows}, column {name}: expected a number, got {field:?}")));
            }
            fields.push(field.to_owned());
        }
        rows += 1;
    }
    // Integers stay exact beyond 2^53.
    let integers: Option<Vec<i64>> = fields.iter().map(|field| field.parse().ok()).collect();
    let data = match integers {
        Some(integers) if wanted.len() == 1 => Data::I64(integers),
        _ => Data::F64(fields.iter().filter_map(|field| field.parse().ok()).collect()),
    };
    let shape = if wanted.len() == 1 { vec![rows] } else { vec![rows, wanted.len()] };
    Ok(Array { shape, data })
}
