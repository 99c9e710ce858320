//! Elements of files, turned into host vectors.

use std::collections::TryReserveError;
use std::mem::discriminant;
use std::ops::Range;

use half::prelude::*;
use maxmargin::{Floats, Targets};

use crate::failure::{Failure, Outcome};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data,
}

/// Whether existing elements are kept when more are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    All,
    Nothing,
}

/// Elements in the type of the file; but 16-bit integers become i32, and u32 becomes i64.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Bool(Vec<bool>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Data {
    /// Whether a condition holds for all elements.
    pub(crate) fn all(&self, holds: impl Fn(f64) -> bool) -> bool {
        match self {
            Data::Bool(x) => x.iter().all(|&x| holds(u8::from(x).into())),
            Data::I8(x) => x.iter().all(|&x| holds(x.into())),
            Data::U8(x) => x.iter().all(|&x| holds(x.into())),
            Data::I32(x) => x.iter().all(|&x| holds(x.into())),
            Data::I64(x) => x.iter().all(|&x| holds(x as f64)),
            Data::U64(x) => x.iter().all(|&x| holds(x as f64)),
            Data::F16(x) => x.iter().all(|&x| holds(x.into())),
            Data::BF16(x) => x.iter().all(|&x| holds(x.into())),
            Data::F32(x) => x.iter().all(|&x| holds(x.into())),
            Data::F64(x) => x.iter().all(|&x| holds(x)),
        }
    }

    /// The type of the elements, for messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Data::Bool(_) => "booleans",
            Data::I8(_) | Data::U8(_) | Data::I32(_) | Data::I64(_) | Data::U64(_) => "integers",
            Data::F16(_) | Data::BF16(_) | Data::F32(_) | Data::F64(_) => "floats",
        }
    }

    /// The elements as f64, for weights and targets of any type.
    pub(crate) fn to_f64(&self) -> Outcome<Vec<f64>> {
        let mut all = Vec::new();
        let no_memory = |_| Failure::data(format!("{} numbers do not fit in memory", self.len()));
        all.try_reserve_exact(self.len()).map_err(no_memory)?;
        match self {
            Data::Bool(x) => all.extend(x.iter().map(|&x| f64::from(u8::from(x)))),
            Data::I8(x) => all.extend(x.iter().map(|&x| f64::from(x))),
            Data::U8(x) => all.extend(x.iter().map(|&x| f64::from(x))),
            Data::I32(x) => all.extend(x.iter().map(|&x| f64::from(x))),
            Data::I64(x) => all.extend(x.iter().map(|&x| x as f64)),
            Data::U64(x) => all.extend(x.iter().map(|&x| x as f64)),
            Data::F16(x) => all.extend(x.iter().map(|&x| f64::from(x))),
            Data::BF16(x) => all.extend(x.iter().map(|&x| f64::from(x))),
            Data::F32(x) => all.extend(x.iter().map(|&x| f64::from(x))),
            Data::F64(x) => all.extend_from_slice(x),
        }
        Ok(all)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F16,
    BF16,
    F32,
    F64,
}

#[derive(Clone, Debug)]
pub(super) struct StoredAt {
    pub(super) kind: Kind,
    pub(super) big_endian: bool,
    pub(super) shape: Vec<usize>,
    pub(super) start: u64,
}

impl StoredAt {
    /// Bytes of all elements; `None` for more than the machine can address.
    pub(super) fn bytes(&self) -> Option<usize> {
        elements(&self.shape)?.checked_mul(self.kind.bytes())
    }
}

impl Kind {
    pub(super) fn bytes(self) -> usize {
        match self {
            Kind::Bool | Kind::I8 | Kind::U8 => 1,
            Kind::I16 | Kind::U16 | Kind::F16 | Kind::BF16 => 2,
            Kind::I32 | Kind::U32 | Kind::F32 => 4,
            Kind::I64 | Kind::U64 | Kind::F64 => 8,
        }
    }

    /// Decodes `bytes`, whose length must be a multiple of the element size.
    pub(super) fn decode(self, bytes: &[u8], big_endian: bool) -> Data {
        macro_rules! each {
            ($t:ty, $map:expr) => {
                bytes
                    .as_chunks::<{ size_of::<$t>() }>()
                    .0
                    .iter()
                    .map(|&b| if big_endian { <$t>::from_be_bytes(b) } else { <$t>::from_le_bytes(b) })
                    .map($map)
                    .collect()
            };
        }
        match self {
            Kind::Bool => Data::Bool(bytes.iter().map(|&b| b != 0).collect()),
            Kind::I8 => Data::I8(each!(i8, |x| x)),
            Kind::U8 => Data::U8(bytes.to_vec()),
            Kind::I16 => Data::I32(each!(i16, i32::from)),
            Kind::U16 => Data::I32(each!(u16, i32::from)),
            Kind::I32 => Data::I32(each!(i32, |x| x)),
            Kind::U32 => Data::I64(each!(u32, i64::from)),
            Kind::I64 => Data::I64(each!(i64, |x| x)),
            Kind::U64 => Data::U64(each!(u64, |x| x)),
            Kind::F16 => Data::F16(each!(f16, |x| x)),
            Kind::BF16 => Data::BF16(each!(bf16, |x| x)),
            Kind::F32 => Data::F32(each!(f32, |x| x)),
            Kind::F64 => Data::F64(each!(f64, |x| x)),
        }
    }
}

/// Calls `$body` with `$x` bound to the vector, whatever its type.
macro_rules! with_data {
    ($data:expr, $x:ident => $body:expr) => {
        match $data {
            Data::Bool($x) => $body,
            Data::I8($x) => $body,
            Data::U8($x) => $body,
            Data::I32($x) => $body,
            Data::I64($x) => $body,
            Data::U64($x) => $body,
            Data::F16($x) => $body,
            Data::BF16($x) => $body,
            Data::F32($x) => $body,
            Data::F64($x) => $body,
        }
    };
}

impl Kind {
    /// An empty vector of the type that [`Kind::decode`] gives.
    pub(super) fn empty(self) -> Data {
        self.decode(&[], false)
    }
}

impl Data {
    pub(super) fn reserve(&mut self, count: usize) -> Result<(), TryReserveError> {
        with_data!(self, x => x.try_reserve_exact(count))
    }

    pub(super) fn has_type_of(&self, others: &Data) -> bool {
        discriminant(self) == discriminant(others)
    }

    pub(super) fn clear(&mut self) {
        with_data!(self, x => x.clear());
    }

    pub(crate) fn len(&self) -> usize {
        with_data!(self, x => x.len())
    }

    pub(super) fn element_bytes(&self) -> usize {
        fn of<T>(_: &[T]) -> usize {
            size_of::<T>()
        }
        with_data!(self, x => of(x))
    }

    pub(super) fn part(&self, range: Range<usize>) -> Data {
        macro_rules! copy {
            ($($variant:ident),+) => {
                match self { $(Data::$variant(x) => Data::$variant(x[range].to_vec())),+ }
            };
        }
        copy!(Bool, I8, U8, I32, I64, U64, F16, BF16, F32, F64)
    }

    /// Appends elements of the same type.
    pub(super) fn append(&mut self, other: Data) {
        macro_rules! append {
            ($($variant:ident),+) => {
                match (self, other) {
                    $((Data::$variant(x), Data::$variant(mut y)) => x.append(&mut y),)+
                    (to, other) => *to = other,
                }
            };
        }
        append!(Bool, I8, U8, I32, I64, U64, F16, BF16, F32, F64);
    }

    /// Makes room for `count` elements after those that are kept, and returns its bytes, for reading straight from the
    /// file. `None` where the elements must be decoded.
    pub(super) fn room_for(
        &mut self,
        count: usize,
        kind: Kind,
        big_endian: bool,
        keep: Keep,
    ) -> Result<Option<&mut [u8]>, TryReserveError> {
        if big_endian != cfg!(target_endian = "big") && kind.bytes() > 1 {
            return Ok(None);
        }
        macro_rules! grow {
            ($($variant:ident),+) => {
                match (kind, self) {
                    $((Kind::$variant, Data::$variant(x)) => {
                        let before = if keep == Keep::All { x.len() } else { 0 };
                        x.try_reserve((before + count).saturating_sub(x.len()))?;
                        // Only new elements are filled with zeros.
                        x.resize(before + count, Default::default());
                        Ok(Some(bytemuck::cast_slice_mut(&mut x[before..])))
                    })+
                    _ => Ok(None),
                }
            };
        }
        grow!(I8, U8, I32, I64, U64, F16, BF16, F32, F64)
    }

    /// The first element that is not finite in f32, with its index.
    pub(crate) fn first_beyond_f32(&self) -> Option<(usize, f64)> {
        fn first<T: Copy + Into<f64>>(x: &[T]) -> Option<(usize, f64)> {
            let index = x.iter().position(|&x| !(x.into() as f32).is_finite())?;
            Some((index, x[index].into()))
        }
        match self {
            Data::F16(x) => first(x),
            Data::BF16(x) => first(x),
            Data::F32(x) => first(x),
            Data::F64(x) => first(x),
            _ => None,
        }
    }

    /// The elements as floats; `None` for another type.
    pub(crate) fn floats(&self) -> Option<Floats<'_>> {
        match self {
            Data::F16(x) => Some(x.into()),
            Data::BF16(x) => Some(x.into()),
            Data::F32(x) => Some(x.into()),
            Data::F64(x) => Some(x.into()),
            _ => None,
        }
    }

    /// The elements as targets; `None` for half precision, which [`Data::widen`] turns into f32.
    pub(crate) fn targets(&self) -> Option<Targets<'_>> {
        Some(match self {
            Data::Bool(x) => x.into(),
            Data::I8(x) => x.into(),
            Data::U8(x) => x.into(),
            Data::I32(x) => x.into(),
            Data::I64(x) => x.into(),
            Data::U64(x) => x.into(),
            Data::F32(x) => x.into(),
            Data::F64(x) => x.into(),
            Data::F16(_) | Data::BF16(_) => return None,
        })
    }

    /// Turns half precision into f32.
    pub(crate) fn widen(&mut self) {
        match self {
            Data::F16(x) => *self = Data::F32(x.to_f32_vec()),
            Data::BF16(x) => *self = Data::F32(x.to_f32_vec()),
            _ => {}
        }
    }

    /// From column-major to row-major order.
    pub(super) fn transposed(self, shape: &[usize]) -> Result<Data, TryReserveError> {
        fn reorder<T: Copy>(from: Vec<T>, shape: &[usize]) -> Result<Vec<T>, TryReserveError> {
            let mut index = vec![0; shape.len()];
            let mut to = Vec::new();
            to.try_reserve_exact(from.len())?;
            for _ in 0..from.len() {
                let mut stride = 1;
                let mut at = 0;
                for (i, n) in index.iter().zip(shape) {
                    at += i * stride;
                    stride *= n;
                }
                to.push(from[at]);
                for (i, n) in index.iter_mut().zip(shape).rev() {
                    *i += 1;
                    if *i < *n {
                        break;
                    }
                    *i = 0;
                }
            }
            Ok(to)
        }
        macro_rules! reorder {
            ($($variant:ident),+) => {
                match self { $(Data::$variant(x) => reorder(x, shape).map(Data::$variant)),+ }
            };
        }
        reorder!(Bool, I8, U8, I32, I64, U64, F16, BF16, F32, F64)
    }
}

/// The number of elements of a shape; `None` for more than the machine can address.
pub(super) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n))
}
