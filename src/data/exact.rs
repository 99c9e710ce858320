//! Bit-exact f64 through serde. Text formats drop NaN, infinities and often a number's last digit, so there a number is
//! saved as the text of its shortest exact decimal form. Binary formats take f64 as it is.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

struct Exact(f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(&self.0) } else { serializer.serialize_f64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return f64::deserialize(deserializer).map(Exact);
        }
        let text = String::deserialize(deserializer)?;
        text.parse().map(Exact).map_err(|_| D::Error::custom(format!("expected a number as text, got {text:?}")))
    }
}

pub(crate) mod number {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(x: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Exact(*x).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Exact::deserialize(deserializer).map(|x| x.0)
    }
}

pub(crate) mod numbers {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(x: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(x.iter().map(|&x| Exact(x)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        Vec::<Exact>::deserialize(deserializer).map(|x| x.into_iter().map(|x| x.0).collect())
    }
}

pub(crate) mod optional_numbers {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(x: &Option<Vec<f64>>, serializer: S) -> Result<S::Ok, S::Error> {
        x.as_ref().map(|x| x.iter().map(|&x| Exact(x)).collect::<Vec<_>>()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<f64>>, D::Error> {
        let x = Option::<Vec<Exact>>::deserialize(deserializer)?;
        Ok(x.map(|x| x.into_iter().map(|x| x.0).collect()))
    }
}
