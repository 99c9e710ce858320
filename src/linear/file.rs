//! Models as safetensors files: `weight` (outputs, columns) and `bias` (outputs) in f64, `classes` in i64; of standardised
//! features what was taken from each column, `shift`, and what the rest was multiplied by, `scale`, in f64; and all else as JSON
//! in the header's metadata.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};

use super::certificate::Certificate;
use super::joint::Multiclass;
use super::loss::LinearLoss;
use super::model::LinearModel;
use super::space::Intercept;
use crate::data::memory::filled;
use crate::error::{Error, Result};

/// The key of the header's metadata.
const KEY: &str = "maxmargin.linear";

/// What the tensors do not say.
#[derive(Serialize, Deserialize)]
struct Description {
    loss: LossName,
    /// gamma of the smooth hinge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gamma: Option<f64>,
    #[serde(default)]
    multiclass: MulticlassName,
    c: f64,
    intercept: InterceptName,
    /// The value of a penalised intercept's feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intercept_scale: Option<f64>,
    /// For each problem: one per output, or one of all classes.
    primal: Vec<f64>,
    gap: Vec<f64>,
    relative_gap: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LossName {
    Hinge,
    SquaredHinge,
    Smooth,
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MulticlassName {
    #[default]
    OneVsRest,
    CrammerSinger,
    WestonWatkins,
}

/// Both names of each way to solve several classes.
const MULTICLASS: [(Multiclass, MulticlassName); 3] = [
    (Multiclass::OneVsRest, MulticlassName::OneVsRest),
    (Multiclass::CrammerSinger, MulticlassName::CrammerSinger),
    (Multiclass::WestonWatkins, MulticlassName::WestonWatkins),
];

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum InterceptName {
    None,
    Penalized,
    Free,
}

fn wrong(expected: impl Into<String>, got: impl Into<String>) -> Error {
    Error::File { what: "linear model", expected: expected.into(), got: got.into() }
}

impl LinearModel {
    /// The model as a safetensors file, with a note of the caller's if there is one.
    ///
    /// # Errors
    /// [`Error::File`] where the format cannot hold the model.
    pub fn to_safetensors(&self, note: Option<&str>) -> Result<Vec<u8>> {
        let (loss, gamma) = match self.loss {
            LinearLoss::Hinge => (LossName::Hinge, None),
            LinearLoss::SquaredHinge => (LossName::SquaredHinge, None),
            LinearLoss::SmoothHinge(gamma) => (LossName::Smooth, Some(gamma)),
        };
        let (intercept, intercept_scale) = match self.intercept {
            Intercept::None => (InterceptName::None, None),
            Intercept::Penalized(scale) => (InterceptName::Penalized, Some(scale)),
            Intercept::Free => (InterceptName::Free, None),
        };
        let of = |value: fn(&Certificate) -> f64| self.certificates.iter().map(value).collect();
        let description = Description {
            loss,
            gamma,
            multiclass: MULTICLASS
                .iter()
                .find(|names| names.0 == self.multiclass)
                .map(|names| names.1)
                .unwrap_or_default(),
            c: self.c,
            intercept,
            intercept_scale,
            primal: of(|certificate| certificate.primal),
            gap: of(|certificate| certificate.gap),
            relative_gap: of(|certificate| certificate.relative_gap),
            note: note.map(String::from),
        };
        let text = serde_json::to_string(&description).map_err(|error| wrong("options as JSON", error.to_string()))?;
        let f64s = |x: &[f64]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let (weight, bias) = (f64s(&self.weights), f64s(&self.bias));
        let classes: Vec<u8> = self.classes.iter().flat_map(|class| class.to_le_bytes()).collect();
        let failed = |error: safetensors::SafeTensorError| wrong("tensors that can be written", error.to_string());
        let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).map_err(failed);
        let outputs = self.outputs();
        let mut tensors = vec![
            ("weight", view(Dtype::F64, vec![outputs, self.columns], &weight)?),
            ("bias", view(Dtype::F64, vec![outputs], &bias)?),
            ("classes", view(Dtype::I64, vec![self.classes.len()], &classes)?),
        ];
        let (shift, scale) = (f64s(&self.shift), f64s(&self.scale));
        if self.shift.iter().any(|&shift| shift != 0.0) || self.scale.iter().any(|&scale| scale != 1.0) {
            tensors.push(("shift", view(Dtype::F64, vec![self.columns], &shift)?));
            tensors.push(("scale", view(Dtype::F64, vec![self.columns], &scale)?));
        }
        serialize(tensors, Some(HashMap::from([(KEY.to_owned(), text)]))).map_err(failed)
    }

    /// The model of a file from [`LinearModel::to_safetensors`], and its note.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is no such model, or holds numbers that are not finite.
    pub fn from_safetensors(bytes: &[u8]) -> Result<(Self, Option<String>)> {
        let not_safetensors = |error: safetensors::SafeTensorError| wrong("a safetensors file", error.to_string());
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
        let text = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
        let text = text.ok_or_else(|| wrong("a linear model", "a file of something else"))?;
        let description: Description =
            serde_json::from_str(text).map_err(|error| wrong("a linear model's options", error.to_string()))?;
        let file = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
        let tensor = |name: &str, dtype: Dtype| {
            let tensor = file.tensor(name).map_err(|error| wrong(format!("a tensor {name}"), error.to_string()))?;
            if tensor.dtype() != dtype {
                return Err(wrong(format!("{name} of type {dtype}"), tensor.dtype().to_string()));
            }
            Ok(tensor)
        };
        let f64s = |name: &str| {
            let tensor = tensor(name, Dtype::F64)?;
            let numbers: Vec<f64> = tensor.data().as_chunks().0.iter().map(|&x| f64::from_le_bytes(x)).collect();
            match numbers.iter().find(|x| !x.is_finite()) {
                Some(bad) => Err(wrong(format!("finite numbers in {name}"), bad.to_string())),
                None => Ok((tensor.shape().to_vec(), numbers)),
            }
        };
        let ((weight_shape, weights), (bias_shape, bias)) = (f64s("weight")?, f64s("bias")?);
        let classes = tensor("classes", Dtype::I64)?;
        let classes: Vec<i64> = classes.data().as_chunks().0.iter().map(|&x| i64::from_le_bytes(x)).collect();
        let outputs = if classes.len() == 2 { 1 } else { classes.len() };
        let columns = weight_shape.get(1).copied().unwrap_or(0);
        let Description { primal, gap, relative_gap, .. } = &description;
        let has_units = file.names().iter().any(|&name| name == "shift" || name == "scale");
        let (shift, scale) = if has_units {
            (f64s("shift")?.1, f64s("scale")?.1)
        } else {
            (filled(0.0, columns)?, filled(1.0, columns)?)
        };
        let multiclass = MULTICLASS.iter().find(|names| names.1 == description.multiclass);
        let multiclass = multiclass.map(|names| names.0).unwrap_or_default();
        let problems = if multiclass == Multiclass::OneVsRest { outputs } else { 1 };
        let fits = weight_shape == [outputs, columns]
            && columns > 0
            && bias_shape == [outputs]
            && classes.len() > 1
            && classes.is_sorted_by(|a, b| a < b)
            && [primal.len(), gap.len(), relative_gap.len()] == [problems; 3]
            && [shift.len(), scale.len()] == [columns; 2]
            && gap.iter().all(|&gap| gap >= 0.0)
            && scale.iter().all(|&scale| scale > 0.0)
            && description.c > 0.0;
        if !fits {
            return Err(wrong("weight (K, D), bias (K), classes, C, gaps and scales that fit each other", "others"));
        }
        let positive = |option: Option<f64>, name: &str| {
            option.filter(|&x| x > 0.0 && x.is_finite()).ok_or_else(|| wrong(format!("a positive {name}"), "none"))
        };
        let loss = match description.loss {
            LossName::Hinge => LinearLoss::Hinge,
            LossName::SquaredHinge => LinearLoss::SquaredHinge,
            LossName::Smooth => LinearLoss::SmoothHinge(positive(description.gamma, "gamma")?),
        };
        let intercept = match description.intercept {
            InterceptName::None => Intercept::None,
            InterceptName::Penalized => Intercept::Penalized(positive(description.intercept_scale, "scale")?),
            InterceptName::Free => Intercept::Free,
        };
        let certificates = primal
            .iter()
            .zip(gap)
            .zip(relative_gap)
            .map(|((&primal, &gap), &relative_gap)| Certificate { primal, dual: primal - gap, gap, relative_gap });
        let certificates = certificates.collect();
        let model = Self {
            columns,
            weights,
            bias,
            classes,
            certificates,
            loss,
            multiclass,
            intercept,
            c: description.c,
            shift,
            scale,
        };
        Ok((model, description.note))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::{LinearClassifier, Rows};

    #[test]
    fn a_model_is_read_as_it_was_written() {
        let x = [0.0f32, 1.0, 1.0, 3.0, 4.0, 1.0, 5.0, 3.0, 2.0, 9.0, 1.0, 8.0];
        let rows = Rows::new(&x, 2).unwrap();
        for targets in [[0i64, 0, 1, 1, 0, 1], [-3, -3, 1, 1, 8, 8]] {
            for loss in [LinearLoss::Hinge, LinearLoss::SquaredHinge, LinearLoss::SmoothHinge(0.3)] {
                for intercept in [Intercept::None, Intercept::Penalized(2.0), Intercept::Free] {
                    let standardize = intercept != Intercept::None;
                    let classifier = LinearClassifier::new(loss).intercept(intercept).standardize(standardize).c(0.7);
                    let model = classifier.fit(&rows, &targets).unwrap().model;
                    let bytes = model.to_safetensors(Some("x")).unwrap();
                    assert_eq!(LinearModel::from_safetensors(&bytes), Ok((model, Some("x".into()))));
                    for cut in [0, 7, 8, 40, bytes.len() - 1] {
                        assert!(LinearModel::from_safetensors(&bytes[..cut]).is_err());
                    }
                }
            }
        }
    }
}
