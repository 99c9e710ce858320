"""DistributedDataParallel on shards of several sizes has the gradients of one process."""

from __future__ import annotations

import os

import numpy as np
import pytest
from conftest import need

torch = need("torch")

SHARDS = (1, 7, 100)


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))


def data():
    rng = np.random.default_rng(2)
    x = torch.from_numpy(rng.normal(size=(sum(SHARDS), 6)).astype(np.float32))
    weights = torch.from_numpy(rng.random(sum(SHARDS)).astype(np.float32))
    return x, torch.from_numpy(rng.integers(0, 4, sum(SHARDS))), weights


def gradients_of(loss, model):
    model.zero_grad()
    loss.backward()
    return [parameter.grad.numpy().copy() for parameter in model.parameters()]


def criteria():
    import maxmargin as mm
    import maxmargin.torch as mt

    # Each with the losses' sum, and whether samples are weighted.
    return {
        "multi margin": (mt.MultiMarginLoss(reduction="sum"), False),
        "crammer-singer": (mt.CrammerSingerLoss(reduction="sum"), False),
        "weighted": (mt.MaxMarginLoss(mm.WestonWatkins(penalty="squared"), reduction="sum"), True),
    }


def rank_main(rank: int, port: int, results) -> None:
    import maxmargin as mm
    import maxmargin.torch as mt

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=len(SHARDS))
    start = sum(SHARDS[:rank])
    x, targets, weights = (array[start : start + SHARDS[rank]] for array in data())
    model = torch.nn.parallel.DistributedDataParallel(network())
    found = {}
    for name, (criterion, is_weighted) in criteria().items():
        total = criterion(model(x), targets, **({"sample_weight": weights} if is_weighted else {}))
        loss = mt.mean_over_ranks(total, weights.sum() if is_weighted else len(x))
        value = loss.detach().clone()
        torch.distributed.all_reduce(value)
        found[name] = (value.item() / len(SHARDS), gradients_of(loss, model))
    # A weight that is none is an error on every rank, and so are weights of 0 alone.
    for wrong in (-1.0 if rank == 1 else 1.0, 0.0):
        try:
            mt.mean_over_ranks(total.detach(), wrong)
        except mm.InputError as error:
            found.setdefault("errors", []).append(str(error))
    # What DistributedDataParallel makes of each rank's own mean.
    found["plain"] = (0.0, gradients_of(mt.MultiMarginLoss()(model(x), targets), model))
    if rank == 0:
        results.put(found)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    results = context.Queue()
    ranks = [context.Process(target=rank_main, args=(rank, port, results)) for rank in range(len(SHARDS))]
    for rank in ranks:
        rank.start()
    gradients = results.get(timeout=120)
    for rank in ranks:
        rank.join(60)
        assert rank.exitcode == 0
    return gradients


def farthest(got, expected):
    """The largest difference, as a share of the largest number."""
    assert [x.shape for x in got] == [x.shape for x in expected]
    largest = max(np.abs(x).max() for x in expected)
    return max(np.abs(x - y).max() for x, y in zip(got, expected)) / largest


@pytest.mark.parametrize("name", ["multi margin", "crammer-singer", "weighted"])
def test_shards_of_1_7_and_100_samples_have_the_gradients_of_one_process(found, name):
    criterion, is_weighted = criteria()[name]
    x, targets, weights = data()
    model = network()
    total = criterion(model(x), targets, **({"sample_weight": weights} if is_weighted else {}))
    mean = total / (weights.sum() if is_weighted else len(x))
    value, gradients = found[name]
    assert abs(value - mean.item()) <= 1e-6 * abs(mean.item())
    expected = gradients_of(mean, model)
    assert farthest(gradients, expected) <= 1e-6
    if name == "multi margin":
        words = "weight: expected one number per rank, 0 or more, with a positive, finite sum, got "
        assert found["errors"] == [words + "nan over all ranks", words + "0.0 over all ranks"]
        # The average of the ranks' means is another thing.
        assert farthest(found["plain"][1], expected) > 0.05
