"""Means over the samples of all ranks of torch.distributed."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor


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
    """
    if total.ndim:
        raise ValueError(f"total: expected one number, the sum of the losses, got the shape {tuple(total.shape)}")
    of_all = torch.as_tensor(weight, dtype=torch.float64).detach().clone()
    torch.distributed.all_reduce(of_all, group=group)
    return total * (torch.distributed.get_world_size(group) / of_all).to(total.dtype)
