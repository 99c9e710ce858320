"""Means over the samples of all ranks of torch.distributed."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor

from .._errors import InputError, wrong


def mean_over_ranks(total: Tensor, weight: float | Tensor, group: Any = None) -> Tensor:
    """The mean loss over the samples of all ranks, for training with DistributedDataParallel on shards of any sizes.

    DistributedDataParallel averages the ranks' gradients, as if every rank had as many samples. So each rank's loss must be its
    sum, divided by the weight of all samples over the number of ranks: then the average is the gradient of the mean over all samples.

        loss = mean_over_ranks(criterion(scores, targets), len(targets))     # criterion has reduction="sum"

    Args:
        total: The sum of the losses of this rank's samples (``reduction="sum"``).
        weight: What the mean counts here: the number of these samples (not of ignored ones), or the sum of their weights.
        group: The ranks; all of them without it.

    Returns:
        The loss to call ``backward`` on. The average of all ranks' values is the mean. One number goes over the network.

    Raises:
        InputError: On every rank, for a weight of one of them that is no number or negative, and where all are 0.
    """
    if not isinstance(total, Tensor) or total.ndim or not total.is_floating_point():
        got = f"the shape {tuple(total.shape)}" if isinstance(total, Tensor) else type(total).__name__
        raise TypeError(f"total: expected a tensor with one number, the sum of the losses, got {got}")
    own = torch.as_tensor(weight).detach().to(torch.float64).cpu()
    if own.numel() != 1 or not own.item() >= 0.0:
        # The other ranks wait for this one: all are told.
        own = torch.full((), float("nan"), dtype=torch.float64)
    of_all = own.reshape(()).to(total.device)
    torch.distributed.all_reduce(of_all, group=group)
    if not 0.0 < of_all.item() < float("inf"):
        expected = "one number per rank, 0 or more, with a positive, finite sum"
        raise wrong(InputError, "weight", expected, f"{of_all.item()} over all ranks")
    return (total.to(torch.float64) * (torch.distributed.get_world_size(group) / of_all)).to(total.dtype)
