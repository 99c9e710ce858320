//! keras_rs.losses. The batch's scores are `y_pred`, its relevances are `y_true`, and each list has a sample weight.

use super::evaluate;
use super::keras::{KerasReduction, loss};
use crate::data::batch::Batch;
use crate::data::evaluation::{Evaluation, Request};
use crate::device::Device;
use crate::error::Result;
use crate::loss::{Kink, ListwiseHinge, OverItems};

loss!(
    PairwiseHingeLoss,
    "`keras_rs.losses.PairwiseHingeLoss` over a batch of rows of scores with rows of relevances, negative for what is
masked: [`ListwiseHinge`]. The means divide by the number of items, masked ones included,
or by the sum of the lists' weights where Keras does; the losses of
[`KerasReduction::None`] are one a list (keras-rs: one an item). Instead of a temperature, divide the scores.",
    |reduction, batch: &Batch<'_>| {
        // The weights (one per list) are summed as they are.
        let divides = match reduction {
            KerasReduction::SumOverBatchSize => true,
            KerasReduction::MeanWithSampleWeight => batch.sample_weights.is_none(),
            KerasReduction::Sum | KerasReduction::None => false,
        };
        // keras-rs's relu has slope 0 at the kink, unlike the maximum in Keras's own hinges.
        let loss = ListwiseHinge::new().kink(Kink::Zero);
        loss.over_items(if divides { OverItems::Mean } else { OverItems::Sum })
    }
);
