//! Networks of dense layers: layers, optimizers, data sets, and what training asks of a device.
//!
//! | file | content |
//! |---|---|
//! | `layer.rs` | dense layers, activations, initialisers |
//! | `sequential.rs` | a network and its weights |
//! | `optimizer.rs` | SGD, Adam and AdamW by torch's and by Keras's rules |
//! | `data.rs` | data sets: circles, moons, images, and a caller's own |
//! | `history.rs` | what training reports |
//! | `engine.rs` | what training asks of a device |
//! | `random.rs` | seeds |
//!
//! [`crate::train`] trains them with any loss of the crate; the network's outputs are the scores.

mod data;
mod engine;
mod history;
mod layer;
mod optimizer;
mod random;
mod sequential;

pub use data::{Dataset, Features};
pub use engine::Accuracy;
pub use history::{End, Epoch, History, Score};
pub use layer::{Activation, Dense, Initializer};
pub use optimizer::{Conventions, Optimizer};
pub use sequential::Sequential;

pub(crate) use data::batch;
pub(crate) use engine::{
    Engine, EngineParts, EpochPart, EpochSums, Evaluated, Memory, MemorySlot, Progress, RowCounter,
};
pub(crate) use layer::Elementary;
#[cfg(feature = "gpu")]
pub(crate) use optimizer::Update;
pub(crate) use random::order;
pub(crate) use sequential::LayerShape;
