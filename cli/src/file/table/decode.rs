//! Turns Arrow arrays into elements in row-major order.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, new_empty_array};
use arrow_schema::DataType;

use crate::failure::Outcome;
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
    if let Some(row) = null_of_dictionary(array) {
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

/// The first row whose value in a dictionary is null.
fn null_of_dictionary(array: &dyn Array) -> Option<usize> {
    let dictionary = array.as_any_dictionary_opt()?;
    let values = dictionary.values();
    if array.is_empty() || values.null_count() == 0 {
        return None;
    }
    dictionary.normalized_keys().iter().position(|&key| values.is_null(key))
}

/// The texts of an array without nulls, directly or in a dictionary; `None` if it holds none.
pub(super) fn texts(array: &dyn Array) -> Option<Vec<String>> {
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        let values = texts(dictionary.values().as_ref())?;
        return Some(dictionary.normalized_keys().iter().map(|&key| values[key].clone()).collect());
    }
    // The place of a null holds an empty text.
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().map(text).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(text).collect(),
        DataType::Utf8View => array.as_string_view().iter().map(text).collect(),
        _ => return None,
    })
}

/// Whether a column holds texts.
pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => matches!(other, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
    }
}

/// The elements of a dictionary's values at these places.
fn at(values: Data, places: &[usize]) -> Data {
    macro_rules! each {
        ($($variant:ident),+) => {
            match values { $(Data::$variant(x) => Data::$variant(places.iter().map(|&place| x[place]).collect())),+ }
        };
    }
    each!(Bool, I8, U8, I32, I64, U64, F16, BF16, F32, F64)
}

/// The elements of an array without nulls; `None` if they are not numbers. Decimal numbers are rounded to f64.
fn numbers(array: &dyn Array) -> Option<Data> {
    macro_rules! primitive {
        ($type:ty) => {
            array.as_primitive::<$type>().values()
        };
    }
    // Through the decimal digits, which round once.
    macro_rules! decimal {
        ($type:ty) => {{
            let array = array.as_primitive::<$type>();
            let digits = (0..array.len()).map(|row| array.value_as_string(row).parse());
            Data::F64(digits.collect::<Result<_, _>>().ok()?)
        }};
    }
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        let values = numbers(dictionary.values().as_ref())?;
        let places = if array.is_empty() { vec![] } else { dictionary.normalized_keys() };
        return Some(at(values, &places));
    }
    Some(match array.data_type() {
        DataType::Decimal32(..) => decimal!(Decimal32Type),
        DataType::Decimal64(..) => decimal!(Decimal64Type),
        DataType::Decimal128(..) => decimal!(Decimal128Type),
        DataType::Decimal256(..) => decimal!(Decimal256Type),
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
pub(super) fn interleaved(mut columns: Vec<Data>) -> Outcome<Data> {
    if columns.len() == 1 {
        return Ok(columns.remove(0));
    }
    let all_as = |name: fn(&Data) -> bool| columns.iter().all(name);
    macro_rules! same {
        ($($variant:ident),+) => {
            $(if all_as(|data| matches!(data, Data::$variant(_))) {
                let each: Vec<_> = columns
                    .iter()
                    .filter_map(|data| if let Data::$variant(x) = data { Some(x.as_slice()) } else { None })
                    .collect();
                return Ok(Data::$variant(rows(&each)));
            })+
        };
    }
    same!(Bool, I8, U8, I32, I64, U64, F16, F32, F64);
    let each: Vec<Vec<f64>> = columns.iter().map(Data::to_f64).collect::<Outcome<_>>()?;
    Ok(Data::F64(rows(&each.iter().map(Vec::as_slice).collect::<Vec<_>>())))
}

fn rows<T: Copy>(columns: &[&[T]]) -> Vec<T> {
    let count = columns.iter().map(|column| column.len()).min().unwrap_or(0);
    (0..count).flat_map(|row| columns.iter().map(move |column| column[row])).collect()
}
