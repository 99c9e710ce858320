"""maxmargin.torchmetrics beside torchmetrics."""

from __future__ import annotations

import pickle
import warnings

import pytest
from conftest import need

torch = need("torch")
torchmetrics = need("torchmetrics")

import maxmargin.torchmetrics as mt  # noqa: E402
import torchmetrics.classification as theirs  # noqa: E402
import torchmetrics.functional.classification as functional  # noqa: E402


def batches(kind: str, classes: int | None, count: int = 3):
    generator = torch.Generator().manual_seed(3)
    for _ in range(count):
        shape = (40,) if classes is None else (40, classes)
        preds = torch.rand(shape, generator=generator) if kind == "probabilities" else torch.randn(shape, generator=generator)
        target = torch.randint(0, classes or 2, (40,), generator=generator)
        yield preds, target


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("ignore_index", [None, 0, -1])
def test_binary_values_are_torchmetrics(kind, squared, ignore_index):
    ours = mt.BinaryHingeLoss(squared, ignore_index)
    reference = theirs.BinaryHingeLoss(squared, ignore_index)
    for preds, target in batches(kind, None):
        if ignore_index == -1:
            target[::5] = -1
        torch.testing.assert_close(ours(preds, target), reference(preds, target), rtol=1e-6, atol=1e-6)
        args = (preds, target, squared, ignore_index, True)
        torch.testing.assert_close(mt.binary_hinge_loss(*args), functional.binary_hinge_loss(*args), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.compute(), reference.compute(), rtol=1e-6, atol=1e-6)
    assert ours.measures.dtype == torch.float64 and ours.total.dtype == torch.int64


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("mode", ["crammer-singer", "one-vs-all"])
@pytest.mark.parametrize("ignore_index", [None, 1, -1])
def test_multiclass_values_are_torchmetrics(kind, squared, mode, ignore_index):
    ours = mt.MulticlassHingeLoss(4, squared, mode, ignore_index)
    reference = theirs.MulticlassHingeLoss(4, squared, mode, ignore_index)
    for preds, target in batches(kind, 4):
        if ignore_index == -1:
            target[::5] = -1
        torch.testing.assert_close(ours(preds, target), reference(preds, target), rtol=2e-6, atol=1e-6)
        args = (preds, target, 4, squared, mode, ignore_index, True)
        expected = functional.multiclass_hinge_loss(*args)
        torch.testing.assert_close(mt.multiclass_hinge_loss(*args), expected, rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(ours.compute(), reference.compute(), rtol=2e-6, atol=1e-6)


def test_a_value_off_by_a_thousandth_is_seen():
    preds, target = next(iter(batches("logits", None)))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(
            mt.binary_hinge_loss(preds, target) * 1.001, functional.binary_hinge_loss(preds, target), rtol=1e-6, atol=1e-6
        )


def test_more_axes():
    preds, target = torch.randn(6, 3, 5, 2), torch.randint(0, 3, (6, 5, 2))
    expected = functional.multiclass_hinge_loss(preds, target, 3)
    torch.testing.assert_close(mt.multiclass_hinge_loss(preds, target, 3), expected)
    flat = (torch.rand(4, 5), torch.randint(0, 2, (4, 5)))
    torch.testing.assert_close(mt.binary_hinge_loss(*flat), functional.binary_hinge_loss(*flat))


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (lambda m: m.BinaryHingeLoss(), (torch.rand(3), torch.tensor([0, 1, 7]))),
        (lambda m: m.BinaryHingeLoss(), (torch.rand(3), torch.rand(3))),
        (lambda m: m.BinaryHingeLoss(), (torch.rand(3), torch.tensor([0, 1]))),
        (lambda m: m.BinaryHingeLoss(), (torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1]))),
        (lambda m: m.MulticlassHingeLoss(3), (torch.rand(3, 4), torch.tensor([0, 1, 2]))),
        (lambda m: m.MulticlassHingeLoss(3), (torch.rand(3, 3), torch.tensor([0, 1, 5]))),
        (lambda m: m.MulticlassHingeLoss(3), (torch.rand(3), torch.tensor([0, 1, 2]))),
    ],
)
def test_messages_are_torchmetrics(make, arguments):
    messages = []
    for module in (mt, theirs):
        with pytest.raises((ValueError, RuntimeError, IndexError)) as caught:
            make(module).update(*arguments)
        messages.append((type(caught.value), str(caught.value)))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("kwargs", [{"task": "multiclass"}, {"task": "binary", "squared": 1}, {"task": "other"}])
def test_messages_of_arguments_are_torchmetrics(kwargs):
    messages = []
    for module in (mt, torchmetrics):
        with pytest.raises(ValueError) as caught:
            module.HingeLoss(**kwargs)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_collection_clone_pickle_reset_and_device_moves():
    collection = torchmetrics.MetricCollection(
        {"plain": mt.BinaryHingeLoss(), "squared": mt.BinaryHingeLoss(squared=True)}, compute_groups=False
    )
    preds, target = next(iter(batches("logits", None)))
    collection.update(preds, target)
    values = collection.compute()
    torch.testing.assert_close(values["plain"], functional.binary_hinge_loss(preds, target))
    metric = mt.HingeLoss("multiclass", num_classes=3)
    assert isinstance(metric, mt.MulticlassHingeLoss)
    metric.update(torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1]))
    value = metric.compute()
    for other in (pickle.loads(pickle.dumps(metric)), metric.clone()):
        assert other.compute() == value
    metric.reset()
    assert metric.total == 0


def test_a_metric_can_be_scripted_as_torchmetrics_is():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(mt.BinaryHingeLoss())
        torch.jit.script(mt.MulticlassHingeLoss(3))


def test_plot():
    need("matplotlib").use("Agg")
    metric = mt.BinaryHingeLoss()
    values = [metric(torch.rand(10), torch.randint(2, (10,))) for _ in range(10)]
    figure, _ = metric.plot(values)
    assert figure is not None


def test_a_gradient_flows_as_in_torchmetrics():
    preds = torch.randn(8, requires_grad=True)
    target = torch.randint(0, 2, (8,))
    ours = torch.autograd.grad(mt.BinaryHingeLoss()(preds, target), preds)
    torch.testing.assert_close(ours, torch.autograd.grad(theirs.BinaryHingeLoss()(preds, target), preds), check_dtype=False)


def _worker(rank: int, path: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    metric = mt.BinaryHingeLoss()
    for index, (preds, target) in enumerate(batches("logits", None, 4)):
        if index % 2 == rank:
            metric.update(preds, target)
    value = metric.compute()
    single = mt.BinaryHingeLoss()
    for preds, target in batches("logits", None, 4):
        single.update(preds, target)
    torch.testing.assert_close(value, single.compute())
    torch.distributed.destroy_process_group()


def test_two_processes_of_gloo_agree_with_one(tmp_path):
    torch.multiprocessing.spawn(_worker, args=(str(tmp_path / "rendezvous"),), nprocs=2)
