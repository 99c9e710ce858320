"""Losses on arrays of every kind: values against numpy, memory in place, errors."""

from __future__ import annotations

import array
import copy
import pickle
import resource
import subprocess
import sys

import numpy as np
import pytest

import maxmargin as mm

LOSSES = [
    mm.BinaryHinge(margin=0.5, penalty="smooth:0.25", labels="zero-one", ignore_index=7),
    mm.BinaryHinge.perceptron(),
    mm.BinaryHinge.soft_margin(),
    mm.EmbeddingHinge(margin=2.0, kink="half"),
    mm.MarginRanking(penalty="squared"),
    mm.CrammerSinger(ties="split", class_weights=[1, 2, 3], margin_matrix=np.ones((3, 3))),
    mm.WestonWatkins(over_classes="mean", penalty="rennie"),
    mm.LeeLinWahba(penalty="modified-huber"),
    mm.OneVsAll(ignore_index=-1),
    mm.TopK(k=2),
    mm.MultilabelMargin(over_classes="sum"),
    mm.CategoricalHinge(kink="active"),
    mm.ListwiseHinge(over_items="mean"),
    mm.LovaszHinge(labels="zero-one"),
    mm.TripletMargin(p=3.0, swap=True),
    mm.TripletMargin(distance="cosine"),
    mm.CosineEmbedding(margin=0.2),
]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_losses_are_values(loss):
    assert eval(repr(loss), vars(mm).copy()) == loss
    for other in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert other == loss and hash(other) == hash(loss) and other._native.json() == loss._native.json()
    assert loss != mm.BinaryHinge(margin=123.0)


def test_defaults_are_the_native_ones():
    for kind in {type(loss) for loss in LOSSES}:
        needed = {"k": 2} if kind is mm.TopK else {}
        assert kind(**needed)._native.json() == mm._maxmargin.NativeLoss(kind.name, **needed).json()


def hinge(scores, labels):
    return np.maximum(0, 1 - labels * scores.astype(np.float64))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_and_gradients_are_numpys(dtype, rng):
    scores, labels = rng.normal(size=5000).astype(dtype), rng.choice([-1, 1], 5000)
    result = mm.evaluate(mm.BinaryHinge(), scores, labels, gradient=True, losses=True)
    losses = hinge(scores, labels)
    np.testing.assert_allclose(result.losses, losses, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(result.gradient, np.where(losses > 0, -labels, 0) / 5000, rtol=1e-6)
    assert result.value == pytest.approx(losses.mean(), rel=1e-6)
    assert result.active == (losses > 0).sum() and result.count == 5000
    assert result.accuracy == pytest.approx(((scores > 0) == (labels > 0)).mean())
    assert result.precision == ("f64" if dtype == np.float64 else "f32")
    assert result.gradient.dtype == (np.float64 if dtype == np.float64 else np.float32)
    assert isinstance(result.value, float) and isinstance(result.count, int)


def test_multiclass_values_are_numpys(rng):
    scores, classes = rng.normal(size=(300, 5)), rng.integers(0, 5, 300)
    rows = np.arange(300)
    own = scores[rows, classes]
    rivals = scores.copy()
    rivals[rows, classes] = -np.inf
    expected = np.maximum(0, 1 + rivals.max(1) - own)
    assert mm.evaluate(mm.CrammerSinger(), scores, classes).value == pytest.approx(expected.mean(), rel=1e-12)
    weights = rng.uniform(0, 2, 300)
    weighted = mm.evaluate(mm.CrammerSinger(), scores, classes, sample_weights=weights)
    assert weighted.value == pytest.approx((expected * weights).sum() / weights.sum(), rel=1e-12)
    assert weighted.weight_sum == pytest.approx(weights.sum())
    signs = np.where(np.arange(5) == classes[:, None], 1, -1)
    per_class = mm.evaluate(mm.OneVsAll(), scores, classes, per_class=True).per_class
    np.testing.assert_allclose(per_class, hinge(scores, signs).mean(0), rtol=1e-12)


LABEL_TYPES = ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i4", ">f8", ">u2", "<i8"]


@pytest.mark.parametrize("dtype", LABEL_TYPES)
def test_every_type_of_label(dtype, rng):
    labels = rng.integers(0, 2, 100)
    scores = rng.normal(size=100)
    expected = mm.evaluate(mm.BinaryHinge(labels="zero-one"), scores, labels).value
    assert mm.evaluate(mm.BinaryHinge(labels="zero-one"), scores, labels.astype(dtype)).value == expected


def test_strides_byte_orders_and_alignment_are_copied_once(rng):
    wide, labels = rng.normal(size=(40, 6)), rng.integers(0, 3, 80)
    plain = np.ascontiguousarray(wide[:, ::2])
    expected = mm.evaluate(mm.CrammerSinger(), plain, labels[::2], gradient=True)
    misaligned = np.frombuffer(b"x" + plain.tobytes(), np.uint8)[1:].view(plain.dtype).reshape(plain.shape)
    assert not misaligned.flags.aligned
    for scores in (wide[:, ::2], np.asfortranarray(plain), plain.astype(">f8"), misaligned):
        result = mm.evaluate(mm.CrammerSinger(), scores, labels[::2], gradient=True)
        assert result.value == expected.value
        np.testing.assert_array_equal(result.gradient, expected.gradient)


def test_bfloat16_is_read_as_it_is(rng):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    scores = rng.normal(size=200).astype(ml_dtypes.bfloat16)
    labels = rng.choice([-1, 1], 200)
    expected = mm.evaluate(mm.BinaryHinge(), scores.astype(np.float32), labels)
    assert mm.evaluate(mm.BinaryHinge(), scores, labels).value == expected.value
    assert mm.evaluate(mm.BinaryHinge(), scores[::2], labels[::2].astype(ml_dtypes.bfloat16)).value > 0


class ByDlpack:
    """A tensor that offers nothing but DLPack, with the old kind of capsule or the versioned one."""

    def __init__(self, x, is_versioned):
        self.x, self.is_versioned = x, is_versioned

    def __dlpack__(self, **kwargs):
        if not self.is_versioned:
            kwargs.pop("max_version", None)
        return self.x.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


def test_every_protocol(rng):
    scores, labels = rng.normal(size=50).astype(np.float32), rng.choice([-1, 1], 50).astype(np.int64)
    expected = mm.evaluate(mm.BinaryHinge(), scores, labels).value
    for given in (array.array("f", scores), memoryview(scores), ByDlpack(scores, False), ByDlpack(scores, True)):
        assert mm.evaluate(mm.BinaryHinge(), given, labels).value == expected
    assert mm.evaluate(mm.BinaryHinge(), scores.tolist(), labels.tolist()).value == pytest.approx(expected)
    readonly = scores.copy()
    readonly.flags.writeable = False
    assert mm.evaluate(mm.BinaryHinge(), readonly, labels).value == expected
    assert mm.evaluate(mm.BinaryHinge(), ByDlpack(readonly, True), labels).value == expected
    assert mm.evaluate(mm.BinaryHinge(), [1, 2], [1, -1]).value == pytest.approx(1.5)


def test_weights_may_be_whole_numbers(rng):
    scores, labels, weights = rng.normal(size=20), rng.choice([-1, 1], 20), rng.integers(0, 3, 20)
    expected = mm.evaluate(mm.BinaryHinge(), scores, labels, sample_weights=weights.astype(float))
    for given in (weights, weights.astype(np.uint8), weights.tolist()):
        assert mm.evaluate(mm.BinaryHinge(), scores, labels, sample_weights=given).value == expected.value


def test_pandas_and_scalars():
    pandas = pytest.importorskip("pandas")
    for dtype in ("float64", "Float64", "float32", "Float32"):
        scores = pandas.Series([0.5, -1.0], dtype=dtype)
        result = mm.evaluate(mm.BinaryHinge(), scores, pandas.Series([1, 1]), gradient=True)
        assert result.value == 1.25 and result.gradient.tolist() == [-0.5, -0.5]
    assert mm.evaluate(mm.BinaryHinge(), 0.5, 1).value == 0.5
    assert mm.evaluate(mm.BinaryHinge(), np.float32(0.5), np.int8(1), gradient=True).gradient.shape == ()


def test_out_is_written_in_place(rng):
    scores, labels = rng.normal(size=(100, 4)).astype(np.float32), rng.integers(0, 4, 100)
    out, losses = np.full((100, 4), np.nan, np.float32), np.full(100, np.nan, np.float32)
    result = mm.evaluate(mm.WestonWatkins(), scores, labels, out=out, losses_out=losses)
    expected = mm.evaluate(mm.WestonWatkins(), scores, labels, gradient=True, losses=True)
    assert result.gradient is out and result.losses is losses
    np.testing.assert_array_equal(out, expected.gradient)
    np.testing.assert_array_equal(losses, expected.losses)


def test_out_that_cannot_be_written_is_refused(rng):
    scores, labels = rng.normal(size=6).astype(np.float32), np.ones(6)
    readonly = np.empty(6, np.float32)
    readonly.flags.writeable = False
    both = np.empty(9, np.float32)
    for out in (readonly, np.empty(12, np.float32)[::2], np.empty(5, np.float32), scores, scores[::-1], [0.0] * 6):
        with pytest.raises(mm.InputError):
            mm.evaluate(mm.BinaryHinge(), scores, labels, out=out)
    with pytest.raises(mm.InputError, match="overlaps"):
        mm.evaluate(mm.BinaryHinge(), scores, labels, out=both[:6], losses_out=both[3:])
    for out in (np.empty(6), np.empty(6, np.float16), np.empty(6, np.int32)):
        with pytest.raises(mm.ElementTypeError):
            mm.evaluate(mm.BinaryHinge(), scores, labels, out=out)


def test_gradients_of_several_vectors(rng):
    a, p, n = rng.normal(size=(3, 20, 4))
    result = mm.evaluate(mm.TripletMargin(), a, p, n, gradient=True, losses=True)
    assert result.gradient.shape == (3, 20, 4) and result.losses.shape == (20,)
    np.testing.assert_allclose(result.gradient.sum(0), 0, atol=1e-12)
    cosine = mm.evaluate(mm.CosineEmbedding(), a, p, rng.choice([-1, 1], 20), gradient=True)
    assert cosine.gradient.shape == (2, 20, 4)


def test_a_part_of_a_larger_batch(rng):
    scores, labels = rng.normal(size=30), rng.choice([-1, 1], 30)
    whole = mm.evaluate(mm.BinaryHinge(), scores, labels, gradient=True).gradient
    parts = [mm.evaluate(mm.BinaryHinge(), scores[i : i + 10], labels[i : i + 10], divisor=30.0).gradient for i in (0, 10, 20)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-12)


BAD = [
    (lambda: mm.evaluate(mm.BinaryHinge(), [1.0, 2.0, 3.0], [1, -1, 5]), mm.InputError, {"input": "targets", "index": 2}),
    (lambda: mm.evaluate(mm.BinaryHinge(), [1.0], [1], sample_weights=[-1.0]), mm.InputError, {"input": "sample_weights"}),
    (lambda: mm.evaluate(mm.BinaryHinge(), np.ones((2, 3)), np.ones((3, 2))), mm.InputError, {"input": "targets"}),
    (lambda: mm.evaluate(mm.BinaryHinge(), np.ones((3, 1)), np.ones((1, 4))), mm.InputError, {"input": "targets"}),
    (lambda: mm.evaluate(mm.CrammerSinger(), [1.0, 2.0], [1, 0]), mm.InputError, {"input": "scores"}),
    (lambda: mm.evaluate(mm.CrammerSinger(), np.ones((2, 3)), [0, 3]), mm.InputError, {"index": 1, "value": "3"}),
    (lambda: mm.evaluate(mm.BinaryHinge(), np.ones(2, np.int64), [1, 1]), mm.ElementTypeError, {"input": "scores"}),
    (lambda: mm.evaluate(mm.BinaryHinge(), np.ones(2, complex), [1, 1]), mm.ElementTypeError, {"input": "scores"}),
    (lambda: mm.evaluate(mm.BinaryHinge(), ["a", "b"], [1, 1]), mm.ElementTypeError, {"input": "scores"}),
    (lambda: mm.evaluate(mm.BinaryHinge(), [[1.0], [1.0, 2.0]], [1, 1]), mm.ElementTypeError, {"input": "scores"}),
    (lambda: mm.evaluate(mm.BinaryHinge(), [], []), mm.InputError, {}),
    (lambda: mm.evaluate(mm.BinaryHinge(), [1.0], [1], reduction="average"), mm.InputError, {"input": "reduction"}),
    (lambda: mm.evaluate(mm.BinaryHinge(), [1.0], [1], device="no such adapter"), mm.DeviceError, {}),
    (lambda: mm.evaluate(mm.BinaryHinge(), [1.0], [1], device=3), mm.InputError, {"input": "device"}),
    (lambda: mm.BinaryHinge(margin=float("nan")), mm.InputError, {"input": "margin"}),
    (lambda: mm.BinaryHinge(penalty="cubic"), mm.InputError, {"input": "penalty"}),
    (lambda: mm.TopK(k=-1), mm.InputError, {"input": "k"}),
    (lambda: mm.TopK(k=None), mm.InputError, {"input": "k"}),
    (lambda: mm.TopK(k=2**70), mm.InputError, {"input": "k"}),
    (lambda: mm.BinaryHinge(margin="1"), mm.InputError, {"input": "margin", "value": "'1'"}),
    (lambda: mm.BinaryHinge(margin=10**400), mm.InputError, {"input": "margin"}),
    (lambda: mm.BinaryHinge(kink=None), mm.InputError, {"input": "kink"}),
    (lambda: mm.TripletMargin(swap="no"), mm.InputError, {"input": "swap"}),
    (lambda: mm.evaluate(mm.BinaryHinge(), np.ones(2, bool), [1, 1]), mm.ElementTypeError, {"value": "bool"}),
    (lambda: mm.evaluate(mm.BinaryHinge(), np.ma.array([1.0, 2.0], mask=[0, 1]), [1, 1]), mm.ElementTypeError, {}),
    (lambda: mm.evaluate(mm.BinaryHinge(), [1.0], [1], out=np.ones(1, np.float32)), mm.ElementTypeError, {"input": "out"}),
    (lambda: mm.evaluate(mm.TopK(k=9), np.ones((2, 3)), [0, 1]), mm.InputError, {}),
]


@pytest.mark.parametrize(("call", "kind", "attributes"), BAD)
def test_errors_say_where_and_survive_pickling(call, kind, attributes):
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    for name, value in attributes.items():
        assert getattr(error, name) == value
    read = pickle.loads(pickle.dumps(error))
    assert type(read) is kind and str(read) == str(error) and vars(read) == vars(error)
    assert issubclass(kind, mm.MaxMarginError)


def test_wrong_usage_is_a_type_error():
    for call in (
        lambda: mm.evaluate(mm.BinaryHinge(), [1.0]),
        lambda: mm.evaluate(mm.MarginRanking(), [1.0], [1]),
        lambda: mm.BinaryHinge(0.5),
        lambda: mm.evaluate("hinge", [1.0], [1]),
        lambda: mm.evaluate(mm.BinaryHinge, [1.0], [1]),
        lambda: mm.Metric("hinge"),
        lambda: mm.Metric(mm.BinaryHinge()).merge(1),
        lambda: mm.BinaryHinge(margins=0.5),
        lambda: mm.TopK(),
    ):
        with pytest.raises(TypeError):
            call()


def test_arrays_are_read_where_they_are(rng):
    from maxmargin import _maxmargin

    x = rng.normal(size=(4, 3)).astype(np.float32)
    given = [(x, x.ctypes.data), (memoryview(x), x.ctypes.data), (x[2:], x[2:].ctypes.data), (x.T, None), (x[:, :2], None)]
    given += [(x.astype(">f4"), None), (ByDlpack(x, True), x.ctypes.data)]
    torch = sys.modules.get("torch")
    if torch is not None:
        tensor = torch.zeros(4, 3, dtype=torch.bfloat16, requires_grad=True)
        given += [(tensor, tensor.data_ptr()), (tensor.t(), None)]
    for array, address in given:
        own = _maxmargin.address(array)
        assert own == address if address is not None else own != getattr(array, "ctypes", x.ctypes).data
    jax = pytest.importorskip("jax")
    array = jax.numpy.ones((4, 3))
    assert _maxmargin.address(array) == array.unsafe_buffer_pointer()


def test_nothing_is_copied_on_the_way():
    """Peak memory of an evaluation of 1 GiB: with its gradient, one more GiB and no third."""
    script = """
import resource, numpy as np, maxmargin as mm
scores = np.full(1 << 28, 0.5, np.float32)
labels = np.ones(1 << 28, np.int8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert mm.evaluate(mm.BinaryHinge(), scores, labels).value == 0.5
value = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
mm.evaluate(mm.BinaryHinge(), scores, labels, gradient=True)
print(value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300).stdout
    value, gradient = (int(number) / 1024 for number in out.split())
    assert value < 64 and 1000 < gradient < 1100, f"{value} and {gradient} MiB more"


def test_ten_thousand_evaluations_leak_nothing(rng):
    scores, labels = rng.normal(size=(64, 10)).astype(np.float32), rng.integers(0, 10, 64)

    def run(times):
        for _ in range(times):
            mm.evaluate(mm.WestonWatkins(), scores, labels, gradient=True, losses=True)
            mm.evaluate(mm.WestonWatkins(), scores[::2], labels[::2].astype(">i4"), gradient=True)
            with pytest.raises(mm.InputError):
                mm.evaluate(mm.WestonWatkins(), scores, labels + 1)

    run(500)
    objects = len(__import__("gc").get_objects())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(10_000)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 4096, f"{grown} KiB"
    assert abs(len(__import__("gc").get_objects()) - objects) < 200


def test_a_device_of_another_kind_computes_the_same(rng):
    adapters = [adapter for adapter in mm.devices() if adapter.selection != "cpu"]
    if not adapters:
        pytest.skip("no adapter here")
    scores, classes = rng.normal(size=(3000, 7)).astype(np.float32), rng.integers(0, 7, 3000)
    cpu = mm.evaluate(mm.WestonWatkins(), scores, classes, gradient=True, device="cpu")
    device = mm.Device(adapters[0].selection)
    gpu = mm.evaluate(mm.WestonWatkins(), scores, classes, gradient=True, device=device)
    assert gpu.value == pytest.approx(cpu.value, rel=1e-6) and gpu.active == cpu.active
    np.testing.assert_allclose(gpu.gradient, cpu.gradient, rtol=1e-5, atol=1e-9)
    assert device.is_gpu and pickle.loads(pickle.dumps(device)) == device
    assert mm.evaluate(mm.WestonWatkins(), scores.astype(np.float64), classes, gradient=True, device=device).gradient.dtype == (
        np.float32
    )
