"""torch's margin losses, computed by this package: the same arguments, numbers and errors, several times as fast.

Every module and functional takes torch's arguments, in torch's order, and keyword arguments beyond them: ``penalty``, ``kink``,
``ignore_index`` and ``sample_weight``. What torch takes and this package does not (targets of MarginRankingLoss other than -1
and +1, negative class weights, tensors to be broadcast, distances of the caller's own) torch itself computes, and so it says what
is wrong with wrong input. :class:`MaxMarginLoss` makes a module of any loss of the package, and the losses that torch does not
have are modules of their own: Crammer-Singer, top-k, Lovasz, listwise and others.

>>> import torch
>>> loss = MultiMarginLoss()
>>> scores = torch.tensor([[0.1, 0.2, 0.4, 0.8]], requires_grad=True)
>>> value = loss(scores, torch.tensor([3]))
>>> value.backward()
>>> round(value.item(), 4), scores.grad.tolist()
(0.325, [[0.25, 0.25, 0.25, -0.75]])

:func:`mean_over_ranks` weighs the shards of DistributedDataParallel by their samples.

Tensors are on the CPU. Half precision is read as it is; its value is float32, its gradient in its own type. Second derivatives
are zero with the linear penalty, and an error otherwise.
"""

from ._data_parallel import mean_over_ranks
from ._modules import (
    BinaryHingeLoss,
    CategoricalHingeLoss,
    CosineEmbeddingLoss,
    CrammerSingerLoss,
    HingeEmbeddingLoss,
    LeeLinWahbaLoss,
    ListwiseHingeLoss,
    LovaszHingeLoss,
    MarginRankingLoss,
    MaxMarginLoss,
    MultiLabelMarginLoss,
    MultiMarginLoss,
    OneVsAllLoss,
    SoftMarginLoss,
    TopKLoss,
    TripletMarginLoss,
    TripletMarginWithDistanceLoss,
    max_margin_loss,
)
from .functional import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)

__all__ = [
    "BinaryHingeLoss",
    "CategoricalHingeLoss",
    "CosineEmbeddingLoss",
    "CrammerSingerLoss",
    "HingeEmbeddingLoss",
    "LeeLinWahbaLoss",
    "ListwiseHingeLoss",
    "LovaszHingeLoss",
    "MarginRankingLoss",
    "MaxMarginLoss",
    "MultiLabelMarginLoss",
    "MultiMarginLoss",
    "OneVsAllLoss",
    "SoftMarginLoss",
    "TopKLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "max_margin_loss",
    "mean_over_ranks",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]
