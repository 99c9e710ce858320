//! Turns Arrow arrays into elements in row-major order.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, new_empty_array};
use arrow_schema::DataType;

use crate::file::elements::Data;

/// The first row that cannot be read.
pub(super) struct BadRow {
    pub(super) row: usize,
    pub(super) message: String,
}

pub(super) fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::FixedSizeList(..) | DataType::List(_) | DataType::LargeList(_))
}

/// An empty vector of the type that a column is read as; `None` where the column holds no numbers.
pub(super) fn empty(data_type: &DataType) -> Option<Data> {
    let element = match data_type {
        DataType::FixedSizeList(field, _) | DataType::List(field) | DataType::LargeList(field) => field.data_type(),
        other => other,
    };
    numbers(new_empty_array(element).as_ref())
}

/// The length of the first list in a column.
pub(super) fn first_list_length(array: &dyn Array) -> Option<usize> {
    if array.is_empty() {
        return None;
    }
    match array.data_type() {
        DataType::List(_) => Some(array.as_list::<i32>().value(0).len()),
        DataType::LargeList(_) => Some(array.as_list::<i64>().value(0).len()),
        _ => None,
    }
}

/// The elements of a column; lists follow one another. None may be null, and all lists must have this length.
pub(super) fn column(array: &dyn Array, list_length: usize) -> Result<Data, BadRow> {
    let null = |array: &dyn Array| (0..array.len()).find(|&i| array.is_null(i));
    if let Some(row) = null(array) {
        return Err(BadRow { row, message: "expected a value, got null".into() });
    }
    let lists = match array.data_type() {
        DataType::FixedSizeList(..) => {
            let lists = array.as_fixed_size_list();
            let first = lists.value_offset_at(0);
            Some(lists.values().slice(first, array.len() * list_length))
        }
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            Some(same_length(lists.value_offsets(), lists.values(), list_length)?)
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            Some(same_length(lists.value_offsets(), lists.values(), list_length)?)
        }
        _ => None,
    };
    let values = lists.as_deref().unwrap_or(array);
    if let Some(element) = null(values) {
        let row = element / list_length.max(1);
        return Err(BadRow {
            row,
            message: format!("expected a number at {}, got null", element % list_length.max(1)),
        });
    }
    numbers(values).ok_or_else(|| BadRow { row: 0, message: format!("expected numbers, got {}", values.data_type()) })
}

/// The values of lists, after a check that all have this length.
fn same_length<O: Copy + TryInto<usize>>(
    offsets: &[O],
    values: &ArrayRef,
    list_length: usize,
) -> Result<ArrayRef, BadRow> {
    let place = |&offset: &O| offset.try_into().unwrap_or(0);
    let lengths = offsets.windows(2).map(|pair| place(&pair[1]) - place(&pair[0]));
    for (row, length) in lengths.enumerate() {
        if length != list_length {
            let message = format!("expected a list as long as the first, {list_length}, got one of {length}");
            return Err(BadRow { row, message });
        }
    }
    let first = offsets.first().map_or(0, place);
    Ok(values.slice(first, (offsets.len() - 1) * list_length))
}

/// The elements of an array without nulls; `None` if they are not numbers.
fn numbers(array: &dyn Array) -> Option<Data> {
    macro_rules! primitive {
        ($type:ty) => {
            array.as_primitive::<$type>().values()
        };
    }
    Some(match array.data_type() {
        DataType::Boolean => Data::Bool(array.as_boolean().values().iter().collect()),
        DataType::Int8 => Data::I8(primitive!(Int8Type).to_vec()),
        DataType::UInt8 => Data::U8(primitive!(UInt8Type).to_vec()),
        DataType::Int16 => Data::I32(primitive!(Int16Type).iter().map(|&x| x.into()).collect()),
        DataType::UInt16 => Data::I32(primitive!(UInt16Type).iter().map(|&x| x.into()).collect()),
        DataType::Int32 => Data::I32(primitive!(Int32Type).to_vec()),
        DataType::UInt32 => Data::I64(primitive!(UInt32Type).iter().map(|&x| x.into()).collect()),
        DataType::Int64 => Data::I64(primitive!(Int64Type).to_vec()),
        DataType::UInt64 => Data::U64(primitive!(UInt64Type).to_vec()),
        DataType::Float16 => Data::F16(primitive!(Float16Type).to_vec()),
        DataType::Float32 => Data::F32(primitive!(Float32Type).to_vec()),
        DataType::Float64 => Data::F64(primitive!(Float64Type).to_vec()),
        _ => return None,
    })
}

/// Interleaves columns of equal length into rows. Columns of different types are converted to f64.
pub(super) fn interleaved(mut columns: Vec<Data>) -> Data {
    if columns.len() == 1 {
        return columns.remove(0);
    }
    let all_as = |name: fn(&Data) -> bool| columns.iter().all(name);
    macro_rules! same {
        ($($variant:ident),+) => {
            $(if all_as(|data| matches!(data, Data::$variant(_))) {
                let each: Vec<_> = columns
                    .iter()
                    .filter_map(|data| if let Data::$variant(x) = data { Some(x.as_slice()) } else { None })
                    .collect();
                return Data::$variant(rows(&each));
            })+
        };
    }
    same!(Bool, I8, U8, I32, I64, U64, F16, F32, F64);
    let each: Vec<Vec<f64>> = columns.iter().map(Data::to_f64).collect();
    Data::F64(rows(&each.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

fn rows<T: Copy>(columns: &[&[T]]) -> Vec<T> {
    let count = columns.iter().map(|column| column.len()).min().unwrap_or(0);
    (0..count).flat_map(|row| columns.iter().map(move |column| column[row])).collect()
}
