//! Stochastic gradient descent and Adam, by the rules of torch or Keras.

use serde::{Deserialize, Serialize};

use super::layer::Elementary;
use crate::error::{Error, Result, number};

/// The library whose update rules are followed. torch and Keras differ in these:
///
/// | | torch | Keras |
/// |---|---|---|
/// | SGD's memory | b = m*b + g; w -= lr*b | v = m*v - lr*g; w += v |
/// | weight decay of SGD and Adam | added to the gradient | w -= lr*wd*w before the update |
/// | Adam's epsilon | added to the corrected root, 1e-8 | added to the uncorrected root, 1e-7 |
/// | AdamW's weight decay | 0.01 | 0.004 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Conventions {
    /// torch 2's torch.optim.
    #[default]
    Torch,
    /// Keras 3's keras.optimizers.
    Keras,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Method {
    Sgd { momentum: f64, nesterov: bool },
    Adam { beta1: f64, beta2: f64, epsilon: Option<f64>, decoupled: bool },
}

/// The rule by which gradients change weights.
///
/// ```
/// use maxmargin::nn::{Conventions, Optimizer};
/// let optimizer = Optimizer::sgd(0.01).momentum(0.9).conventions(Conventions::Keras);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimizer {
    method: Method,
    learning_rate: f64,
    weight_decay: Option<f64>,
    conventions: Conventions,
}

impl Optimizer {
    fn new(method: Method, learning_rate: f64) -> Self {
        Self { method, learning_rate, weight_decay: None, conventions: Conventions::Torch }
    }

    /// Stochastic gradient descent without momentum.
    pub fn sgd(learning_rate: f64) -> Self {
        Self::new(Method::Sgd { momentum: 0.0, nesterov: false }, learning_rate)
    }

    /// Adam (Kingma and Ba, 2015) with betas 0.9 and 0.999.
    pub fn adam(learning_rate: f64) -> Self {
        Self::new(Method::Adam { beta1: 0.9, beta2: 0.999, epsilon: None, decoupled: false }, learning_rate)
    }

    /// AdamW (Loshchilov and Hutter, 2019): Adam with weight decay (0.01, or Keras's 0.004) kept out of the gradient.
    pub fn adamw(learning_rate: f64) -> Self {
        Self::new(Method::Adam { beta1: 0.9, beta2: 0.999, epsilon: None, decoupled: true }, learning_rate)
    }

    /// The momentum of SGD, in [0, 1). Adam ignores it.
    pub fn momentum(mut self, value: f64) -> Self {
        if let Method::Sgd { momentum, .. } = &mut self.method {
            *momentum = value;
        }
        self
    }

    /// Nesterov's momentum for SGD.
    pub fn nesterov(mut self, value: bool) -> Self {
        if let Method::Sgd { nesterov, .. } = &mut self.method {
            *nesterov = value;
        }
        self
    }

    /// Adam's decay rates of the first and the second moment, in [0, 1). SGD ignores them.
    pub fn betas(mut self, first: f64, second: f64) -> Self {
        if let Method::Adam { beta1, beta2, .. } = &mut self.method {
            (*beta1, *beta2) = (first, second);
        }
        self
    }

    /// Adam's epsilon. The default is 1e-8 by torch's conventions and 1e-7 by Keras's.
    pub fn epsilon(mut self, value: f64) -> Self {
        if let Method::Adam { epsilon, .. } = &mut self.method {
            *epsilon = Some(value);
        }
        self
    }

    /// Weight decay. The default for SGD and Adam is 0.
    pub fn weight_decay(mut self, value: f64) -> Self {
        self.weight_decay = Some(value);
        self
    }

    /// The library whose rules are followed.
    pub fn conventions(mut self, conventions: Conventions) -> Self {
        self.conventions = conventions;
        self
    }

    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::Option`] for a number outside its range.
    pub fn check(&self) -> Result<()> {
        let check = |option, value: f64, ok: bool, expected: &str| {
            if ok { Ok(()) } else { Err(Error::Option { option, expected: expected.into(), got: number(value) }) }
        };
        let rate = self.learning_rate;
        check("learning_rate", rate, rate.is_finite() && rate >= 0.0, "a finite number, 0 or more")?;
        let decay = self.decay();
        check("weight_decay", decay, decay.is_finite() && decay >= 0.0, "a finite number, 0 or more")?;
        let fraction = |option, value: f64| check(option, value, (0.0..1.0).contains(&value), "a number in [0, 1)");
        match self.method {
            Method::Sgd { momentum, nesterov } => {
                fraction("momentum", momentum)?;
                check("momentum", momentum, !nesterov || momentum > 0.0, "more than 0 for Nesterov's momentum")
            }
            Method::Adam { beta1, beta2, .. } => {
                fraction("beta1", beta1)?;
                fraction("beta2", beta2)?;
                let epsilon = self.adam_epsilon();
                check("epsilon", epsilon, epsilon.is_finite() && epsilon > 0.0, "a finite number above 0")
            }
        }
    }

    fn decay(&self) -> f64 {
        self.weight_decay.unwrap_or(match (self.method, self.conventions) {
            (Method::Adam { decoupled: true, .. }, Conventions::Torch) => 0.01,
            (Method::Adam { decoupled: true, .. }, Conventions::Keras) => 0.004,
            _ => 0.0,
        })
    }

    fn adam_epsilon(&self) -> f64 {
        match (self.method, self.conventions) {
            (Method::Adam { epsilon: Some(epsilon), .. }, _) => epsilon,
            (_, Conventions::Torch) => 1e-8,
            (_, Conventions::Keras) => 1e-7,
        }
    }

    /// The numbers of one update; `step` counts from 1.
    pub(crate) fn update(&self, step: u64) -> Update {
        let decay = self.decay();
        let is_decoupled =
            self.conventions == Conventions::Keras || matches!(self.method, Method::Adam { decoupled: true, .. });
        let mut update = Update {
            rule: UpdateRule::TorchSgd,
            nesterov: false,
            coupled_decay: if is_decoupled { 0.0 } else { decay },
            decoupled_decay: if is_decoupled { decay * self.learning_rate } else { 0.0 },
            rate: self.learning_rate,
            first_decay: 0.0,
            first_gain: 0.0,
            second_decay: 0.0,
            second_gain: 0.0,
            root_scale: 1.0,
            epsilon: 0.0,
        };
        match self.method {
            Method::Sgd { momentum, nesterov } => {
                if self.conventions == Conventions::Keras {
                    update.rule = UpdateRule::KerasSgd;
                }
                update.nesterov = nesterov;
                update.first_decay = momentum;
            }
            Method::Adam { beta1, beta2, .. } => {
                let power = i32::try_from(step).unwrap_or(i32::MAX);
                let (correction1, correction2) = (1.0 - beta1.powi(power), 1.0 - beta2.powi(power));
                update.rule = UpdateRule::Adam;
                (update.first_decay, update.first_gain) = (beta1, 1.0 - beta1);
                (update.second_decay, update.second_gain) = (beta2, 1.0 - beta2);
                update.epsilon = self.adam_epsilon();
                match self.conventions {
                    Conventions::Torch => {
                        update.rate = self.learning_rate / correction1;
                        update.root_scale = 1.0 / correction2.sqrt();
                    }
                    Conventions::Keras => update.rate = self.learning_rate * correction2.sqrt() / correction1,
                }
            }
        }
        update
    }

    /// How many numbers of memory the optimizer keeps per weight.
    pub(crate) fn memory(&self) -> usize {
        match self.method {
            Method::Sgd { momentum, .. } => usize::from(momentum > 0.0),
            Method::Adam { .. } => 2,
        }
    }
}

/// The formula of an update. shaders/network/update.wgsl uses these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpdateRule {
    TorchSgd = 0,
    KerasSgd = 1,
    Adam = 2,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    pub(crate) rule: UpdateRule,
    pub(crate) nesterov: bool,
    pub(crate) coupled_decay: f64,
    pub(crate) decoupled_decay: f64,
    pub(crate) rate: f64,
    /// SGD's momentum, or Adam's decay of the first moment.
    pub(crate) first_decay: f64,
    pub(crate) first_gain: f64,
    pub(crate) second_decay: f64,
    pub(crate) second_gain: f64,
    pub(crate) root_scale: f64,
    pub(crate) epsilon: f64,
}

impl Update {
    /// Moves weights along their gradients. `first` and `second` are the optimizer's memory, empty where it keeps none.
    pub(crate) fn apply<T: Elementary>(&self, weights: &mut [T], gradient: &[T], first: &mut [T], second: &mut [T]) {
        let number = T::from_f64;
        let (coupled, decoupled, rate) = (number(self.coupled_decay), number(self.decoupled_decay), number(self.rate));
        let (decay1, gain1) = (number(self.first_decay), number(self.first_gain));
        let (decay2, gain2) = (number(self.second_decay), number(self.second_gain));
        let (root_scale, epsilon) = (number(self.root_scale), number(self.epsilon));
        let start = |w: T, g: T| (w - w * decoupled, g + w * coupled);
        match self.rule {
            UpdateRule::TorchSgd | UpdateRule::KerasSgd if first.is_empty() => {
                for (w, &g) in weights.iter_mut().zip(gradient) {
                    let (kept, g) = start(*w, g);
                    *w = kept - rate * g;
                }
            }
            UpdateRule::TorchSgd => {
                for ((w, &g), b) in weights.iter_mut().zip(gradient).zip(first) {
                    let (kept, g) = start(*w, g);
                    *b = decay1 * *b + g;
                    *w = kept - rate * if self.nesterov { g + decay1 * *b } else { *b };
                }
            }
            UpdateRule::KerasSgd => {
                for ((w, &g), v) in weights.iter_mut().zip(gradient).zip(first) {
                    let (kept, g) = start(*w, g);
                    *v = decay1 * *v - rate * g;
                    *w = kept + if self.nesterov { decay1 * *v - rate * g } else { *v };
                }
            }
            UpdateRule::Adam => {
                for (((w, &g), m), v) in weights.iter_mut().zip(gradient).zip(first).zip(second) {
                    let (kept, g) = start(*w, g);
                    *m = decay1 * *m + gain1 * g;
                    *v = decay2 * *v + gain2 * (g * g);
                    *w = kept - rate * *m / (v.sqrt() * root_scale + epsilon);
                }
            }
        }
    }
}
