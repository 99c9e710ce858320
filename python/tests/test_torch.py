"""maxmargin.torch beside torch: torch's own cases, gradients, transforms and errors."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import numpy as np
import pytest
from conftest import need

torch = need("torch")
need("expecttest")
F = torch.nn.functional

import maxmargin as mm  # noqa: E402
import maxmargin.torch as mt  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import module_db

MODULES = [
    "CosineEmbeddingLoss",
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiMarginLoss",
    "SoftMarginLoss",
]
FUNCTIONALS = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]
DTYPES = [torch.float32, torch.float64]


def tolerances(dtype: torch.dtype) -> dict[str, float]:
    return {"rtol": 2e-6, "atol": 2e-6} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}


def module_info(name: str):
    return next(info for info in module_db if info.module_cls is getattr(torch.nn, name))


def op_info(name: str):
    return next(info for info in op_db if info.name == f"nn.functional.{name}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MODULES)
def test_torchs_own_module_cases_pass_with_our_module_in_its_place(name, dtype):
    info = module_info(name)
    inputs = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=False)
    count = 0
    for case in inputs:
        args, kwargs = case.constructor_input.args, case.constructor_input.kwargs
        ours, theirs = getattr(mt, name)(*args, **kwargs), info.module_cls(*args, **kwargs)
        given = case.forward_input
        value = ours(*given.args, **given.kwargs)
        expected = case.reference_fn(ours, *given.args, **given.kwargs)
        torch.testing.assert_close(value, expected, **tolerances(dtype))
        torch.testing.assert_close(value, theirs(*given.args, **given.kwargs), **tolerances(dtype))
        count += 1
    assert count >= 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONALS)
def test_torchs_own_functional_cases_give_its_values_and_gradients(name, dtype):
    info, ours, theirs = op_info(name), getattr(mt, name), getattr(F, name)
    samples = list(info.reference_inputs("cpu", dtype, requires_grad=True))
    assert len(samples) >= 5
    for sample in samples:
        every = [sample.input, *sample.args]
        inputs = [x for x in every if isinstance(x, torch.Tensor) and x.requires_grad]
        results = []
        for function in (ours, theirs):
            value = function(sample.input, *sample.args, **sample.kwargs)
            results.append((value, torch.autograd.grad(value.sum(), inputs, allow_unused=True)))
        (value, gradients), (expected, expected_gradients) = results
        assert value.dtype == expected.dtype and value.shape == expected.shape
        torch.testing.assert_close(value, expected, equal_nan=True, **tolerances(dtype))
        for gradient, reference in zip(gradients, expected_gradients, strict=True):
            torch.testing.assert_close(gradient, reference, equal_nan=True, **tolerances(dtype))


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_errors_are_torchs(name):
    info = op_info(name)
    if info.error_inputs_func is None:
        pytest.skip("torch has no error cases for it")
    cases = list(info.error_inputs("cpu"))
    for case in cases:
        sample = case.sample_input
        with pytest.raises(case.error_type, match=case.error_regex):
            getattr(mt, name)(sample.input, *sample.args, **sample.kwargs)
    assert cases


def cases(dtype=torch.float64):
    """Every loss with tensors for it, away from kinks and ties."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    classes = torch.tensor([0, 3, 1, 2, 2])
    signs = torch.tensor([1, -1, 1, 1, -1])
    labels = torch.tensor([[0, 2, -1, 0], [3, -1, 0, 0], [-1, 0, 0, 0], [1, 2, 3, -1], [0, 1, 2, 3]])
    relevances = torch.tensor([[2, 0, 1, 0], [0, 1, -1, 2], [1, 1, 0, 0], [3, 2, 1, 0], [0, 0, 0, 1]])
    return {
        "hinge_embedding": (mt.HingeEmbeddingLoss(), (normal(5), signs)),
        "soft_margin": (mt.SoftMarginLoss(), (normal(5), signs)),
        "ranking": (mt.MarginRankingLoss(0.3), (normal(5), normal(5), signs)),
        "multi_margin": (mt.MultiMarginLoss(weight=torch.tensor([1.0, 0.5, 2.0, 3.0])), (normal(5, 4), classes)),
        "multi_margin_squared": (mt.MultiMarginLoss(p=2), (normal(5, 4), classes)),
        "multilabel": (mt.MultiLabelMarginLoss(), (normal(5, 4), labels)),
        "triplet": (mt.TripletMarginLoss(swap=True), (normal(5, 3), normal(5, 3), normal(5, 3))),
        "triplet_distance": (mt.TripletMarginWithDistanceLoss(), (normal(5, 3), normal(5, 3), normal(5, 3))),
        "cosine": (mt.CosineEmbeddingLoss(), (normal(5, 3), normal(5, 3), signs)),
        "binary": (mt.BinaryHingeLoss(penalty="smooth:0.5"), (normal(5), signs)),
        "crammer_singer": (mt.CrammerSingerLoss(class_weights=[1, 2, 3, 4]), (normal(5, 4), classes)),
        "top_k": (mt.TopKLoss(k=2), (normal(5, 4), classes)),
        "lovasz": (mt.LovaszHingeLoss(), (normal(5, 4), torch.where(labels > 0, 1, -1))),
        "listwise": (mt.ListwiseHingeLoss(), (normal(5, 4), relevances)),
        "matrix": (
            mt.MaxMarginLoss(mm.WestonWatkins(margin_matrix=np.ones((4, 4)), class_weights=[1, 2, 3, 4])),
            (normal(5, 4), classes),
        ),
    }


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", list(cases()))
def test_gradients_pass_gradcheck(name, reduction):
    module, tensors = cases()[name]
    module.reduction = reduction
    weights = torch.tensor([0.5, 1.0, 2.0, 0.1, 3.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(module, tensors)
    if name != "triplet_distance":
        assert torch.autograd.gradcheck(lambda *x: module(*x, sample_weight=weights), tensors)


def test_gradcheck_would_see_a_wrong_gradient():
    module, tensors = cases()["multi_margin"]

    def wrong(*x):
        value = module(*x)
        return value.detach() + 1.01 * (value - value.detach())

    with pytest.raises(Exception, match="Jacobian mismatch"):
        torch.autograd.gradcheck(wrong, tensors)


@pytest.mark.parametrize("name", ["hinge_embedding", "multi_margin", "ranking", "crammer_singer"])
def test_second_derivatives_of_linear_penalties_are_zero(name):
    module, tensors = cases()[name]
    (gradient,) = torch.autograd.grad(module(*tensors), tensors[:1], create_graph=True)
    (second,) = torch.autograd.grad((gradient * torch.randn_like(gradient)).sum(), tensors[:1])
    assert second.abs().max() == 0
    assert torch.autograd.gradgradcheck(module, tensors)


@pytest.mark.parametrize("name", ["multi_margin_squared", "soft_margin", "cosine", "triplet", "binary"])
def test_other_second_derivatives_are_refused(name):
    module, tensors = cases()[name]
    (gradient,) = torch.autograd.grad(module(*tensors), tensors[:1], create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivative"):
        gradient.sum().backward()


@pytest.mark.parametrize("name", list(cases()))
def test_a_graph_may_be_walked_twice(name):
    module, tensors = cases()[name]
    value = module(*tensors)
    first = torch.autograd.grad(value, tensors[:1], retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(value, tensors[:1], torch.tensor(-3.0, dtype=value.dtype))[0], -3 * first)


def test_scores_changed_between_two_walks_are_refused():
    scores = torch.randn(4, 3)
    leaf = scores.clone().requires_grad_()
    value = mt.multi_margin_loss(leaf, torch.tensor([0, 1, 2, 0]))
    value.backward(retain_graph=True)
    with torch.no_grad():
        leaf.add_(1.0)
    with pytest.raises(RuntimeError, match="inplace"):
        value.backward()


@pytest.mark.parametrize("name", list(cases()))
def test_func_grad(name):
    module, tensors = cases()[name]
    first, *rest = [x.detach() for x in tensors]
    gradient = torch.func.grad(lambda x: module(x, *rest))(first)
    leaf = first.clone().requires_grad_()
    module(leaf, *rest).backward()
    torch.testing.assert_close(gradient, leaf.grad)


@pytest.mark.parametrize("name", ["multi_margin", "ranking", "triplet", "cosine", "hinge_embedding", "multilabel"])
def test_operators_pass_opcheck(name):
    module, tensors = cases()[name]
    spec = {
        "multi_margin": "weston_watkins margin=1.0 penalty=linear over_classes=mean",
        "ranking": "ranking margin=0.3",
        "triplet": "triplet margin=1.0 p=2.0 eps=1e-06 swap=True",
        "cosine": "cosine margin=0.0",
        "hinge_embedding": "embedding margin=1.0",
        "multilabel": "multilabel",
    }[name]
    for reduction in ("mean", "none"):
        torch.library.opcheck(mt._autograd._loss_op, (spec, list(tensors), None, None, reduction))
    upstream = torch.ones((), dtype=torch.float64)
    torch.library.opcheck(mt._autograd._gradient_op, (spec, [x.detach() for x in tensors], None, None, "mean", upstream))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("name", ["multi_margin", "crammer_singer", "ranking", "triplet", "hinge_embedding", "soft_margin"])
def test_compile_in_one_graph(name, backend):
    module, tensors = cases(torch.float32)[name]
    torch._dynamo.reset()
    compiled = torch.compile(lambda *x: module(*x) * 2, fullgraph=True, backend=backend)
    eager = torch.autograd.grad(module(*tensors) * 2, tensors[:1])
    value = compiled(*tensors)
    torch.testing.assert_close(value, module(*tensors) * 2)
    torch.testing.assert_close(torch.autograd.grad(value, tensors[:1]), eager)


def test_half_precision_gives_f32_values_and_gradients_of_its_own_type():
    for dtype in (torch.float16, torch.bfloat16):
        scores = torch.randn(6, 4).to(dtype).requires_grad_()
        target = torch.tensor([0, 1, 2, 3, 0, 1])
        value = mt.multi_margin_loss(scores, target)
        value.backward()
        wide = scores.detach().float().requires_grad_()
        expected = F.multi_margin_loss(wide, target)
        expected.backward()
        assert value.dtype == torch.float32 and scores.grad.dtype == dtype
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(scores.grad, wide.grad.to(dtype))


def test_autocast_changes_nothing_but_the_scores_type():
    model, loss = torch.nn.Linear(3, 4), mt.MultiMarginLoss()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(model(torch.randn(5, 3)), torch.tensor([0, 1, 2, 3, 0]))
    value.backward()
    assert value.dtype == torch.float32 and model.weight.grad.dtype == torch.float32


def test_strided_scores_and_their_gradients():
    scores = torch.randn(4, 6).t().requires_grad_()
    target = torch.tensor([0, 1, 2, 3, 0, 1])
    ours = torch.autograd.grad(mt.multi_margin_loss(scores, target), scores)
    torch.testing.assert_close(ours, torch.autograd.grad(F.multi_margin_loss(scores, target), scores))


def test_modules_save_load_copy_and_print_like_torchs():
    weight = torch.tensor([1.0, 2.0, 3.0])
    ours, theirs = mt.MultiMarginLoss(weight=weight), torch.nn.MultiMarginLoss(weight=weight)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    other = mt.MultiMarginLoss(weight=torch.zeros(3))
    other.load_state_dict(ours.state_dict())
    scores, target = torch.randn(2, 3), torch.tensor([0, 2])
    expected = theirs(scores, target)
    for module in (ours, other, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        torch.testing.assert_close(module(scores, target), expected)
    buffer = io.BytesIO()
    torch.save(mt.CrammerSingerLoss(class_weights=[1, 2, 3]), buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    assert loaded.loss == mm.CrammerSinger(class_weights=[1, 2, 3]) and "CrammerSinger" in repr(loaded)
    assert loaded(scores, target).isfinite()


def test_labels_that_torch_reads_out_of_bounds_are_named():
    with pytest.raises((mm.InputError, RuntimeError, IndexError)) as caught:
        mt.multi_margin_loss(torch.randn(3, 4), torch.tensor([0, 7, 1]))
    chain = [caught.value, caught.value.__cause__]
    assert any(isinstance(error, mm.InputError) and error.index == 1 for error in chain)


def test_a_tensor_elsewhere_says_what_to_do():
    meta = torch.empty(3, 4, device="meta")
    with pytest.raises(mm.DeviceError, match=r"call \.cpu\(\)"):
        mm.evaluate(mm.CrammerSinger(), meta, torch.tensor([0, 1, 2]))


def test_penalties_by_name_in_functionals():
    first, second, signs = torch.randn(6), torch.randn(6), torch.tensor([1, -1, 1, 1, -1, 1])
    for penalty in ("smooth:0.5", "modified-huber", "rennie", "softplus", "squared"):
        value = mt.margin_ranking_loss(first, second, signs, penalty=penalty)
        expected = mm.evaluate(mm.MarginRanking(penalty=penalty), first, second, signs).value
        assert value.item() == pytest.approx(expected)


def test_ignored_and_weighted_samples():
    scores = torch.randn(4, 3, requires_grad=True)
    target = torch.tensor([0, -100, 2, 1])
    value = mt.multi_margin_loss(scores, target, ignore_index=-100)
    kept = torch.tensor([0, 2, 3])
    torch.testing.assert_close(value, F.multi_margin_loss(scores[kept], target[kept]))
    value.backward()
    assert scores.grad[1].abs().max() == 0
    weights = torch.tensor([1.0, 2.0, 0.0, 4.0])
    losses = F.multi_margin_loss(scores, target.clamp(0), reduction="none")
    expected = (losses * weights).sum() / weights.sum()
    torch.testing.assert_close(mt.multi_margin_loss(scores, target.clamp(0), sample_weight=weights), expected)


def _worker_loss(index):
    scores = torch.randn(50_000, 8, generator=torch.Generator().manual_seed(index))
    return mt.multi_margin_loss(scores, torch.arange(50_000) % 8)


class _Losses(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return _worker_loss(index)


def test_a_data_loader_with_workers_computes_our_losses():
    expected = torch.stack([_worker_loss(index) for index in range(8)])
    loader = torch.utils.data.DataLoader(_Losses(), batch_size=2, num_workers=2, timeout=60)
    torch.testing.assert_close(torch.cat(list(loader)), expected, rtol=0, atol=0)


def test_fake_tensors_traces_and_graphs_see_an_operator():
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    scores, target = torch.randn(6, 4), torch.randint(0, 4, (6,))
    with FakeTensorMode() as mode:
        fake = mt.multi_margin_loss(mode.from_tensor(scores), mode.from_tensor(target))
    assert fake.shape == () and type(fake).__name__ == "FakeTensor"
    for tracing_mode in ("real", "fake"):
        graph = make_fx(lambda *x: mt.multi_margin_loss(*x), tracing_mode=tracing_mode)(scores, target)
        torch.testing.assert_close(graph(3 * scores, target), mt.multi_margin_loss(3 * scores, target))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(mt.MultiMarginLoss(), (scores, target))
    torch.testing.assert_close(traced(3 * scores, target), mt.multi_margin_loss(3 * scores, target))
    meta = mt.multi_margin_loss(scores.to("meta"), target.to("meta"))
    assert meta.device.type == "meta" and meta.shape == ()


def test_signs_that_torch_keeps_apart_from_memory_are_heeded():
    scores, target = torch.randn(6, 4), torch.randint(0, 4, (6,))
    negated = torch._neg_view(scores)
    torch.testing.assert_close(mt.multi_margin_loss(negated, target), F.multi_margin_loss(-scores, target))
    assert mm.evaluate(mm.BinaryHinge(), negated[:, 0], torch.ones(6)).value == pytest.approx(
        mm.evaluate(mm.BinaryHinge(), -scores[:, 0], torch.ones(6)).value
    )


def test_what_is_changed_in_place_between_two_walks_is_seen():
    for change in (0, 1):
        tensors = [torch.randn(6, 4, requires_grad=True) * 1, torch.randint(0, 4, (6,))]
        value = mt.multi_margin_loss(*tensors)
        torch.autograd.grad(value, tensors[0], retain_graph=True)
        with torch.no_grad():
            tensors[change].mul_(0)
        with pytest.raises(RuntimeError, match="inplace"):
            torch.autograd.grad(value, tensors[0])
        with pytest.raises(RuntimeError, match="inplace"):
            torch.autograd.grad(value, tensors[0], create_graph=True)


def test_a_second_walk_without_the_graph_is_torchs_error():
    scores = torch.randn(6, 4, requires_grad=True)
    value = mt.multi_margin_loss(scores, torch.randint(0, 4, (6,)))
    value.backward()
    with pytest.raises(RuntimeError, match="second time"):
        value.backward()


@pytest.mark.parametrize("name", ["multi_margin", "crammer_singer", "hinge_embedding", "triplet", "ranking"])
def test_vmap_and_gradients_of_each_sample(name):
    module, tensors = cases()[name]
    first, *rest = [x.detach() for x in tensors]
    many = torch.stack([first, 2 * first, -first])
    values = torch.func.vmap(lambda x: module(x, *rest))(many)
    torch.testing.assert_close(values, torch.stack([module(x, *rest) for x in many]))
    gradients = torch.func.vmap(torch.func.grad(lambda x: module(x, *rest)))(many)
    expected = [torch.func.grad(lambda x: module(x, *rest))(x) for x in many]
    torch.testing.assert_close(gradients, torch.stack(expected))
    module.reduction = "none"
    jacobian = torch.func.jacrev(lambda x: module(x, *rest))(first)
    assert jacobian.shape[1:] == first.shape
    module.reduction = "mean"


def test_what_is_not_differentiable_says_so():
    scores, target = torch.randn(6, 4, requires_grad=True), torch.randint(0, 4, (6,))
    for options in ({"sample_weight": torch.ones(6, requires_grad=True)}, {"weight": torch.ones(4, requires_grad=True)}):
        with pytest.raises(RuntimeError, match="not differentiable"):
            mt.multi_margin_loss(scores, target, **options)
    forward = torch.autograd.forward_ad
    with forward.dual_level(), pytest.raises((NotImplementedError, RuntimeError), match="jvp|forward"):
        dual = forward.make_dual(scores.detach()[:, 0], torch.ones(6))
        mt.hinge_embedding_loss(dual, target.sign() * 2 - 1)


def test_types_of_targets_that_torch_wraps_are_torchs():
    for function, scores in ((mt.hinge_embedding_loss, (torch.tensor([0.3, 0.4]),)),):
        target = torch.tensor([1, 255], dtype=torch.uint8)
        torch.testing.assert_close(function(*scores, target), F.hinge_embedding_loss(*scores, target))


def test_options_are_checked_where_they_are_given():
    for make in (
        lambda: mt.MultiMarginLoss(penalty="bogus"),
        lambda: mt.MultiMarginLoss(penalty="linear margin=5"),
        lambda: mt.HingeEmbeddingLoss(kink="bogus"),
        lambda: mt.TripletMarginLoss(penalty="cubic"),
        lambda: mt.multi_margin_loss(torch.randn(2, 3), torch.tensor([0, 1]), p=3, kink="half"),
    ):
        with pytest.raises(ValueError):
            make()
    assert repr(mt.HingeEmbeddingLoss(ignore_index=-1)) == "HingeEmbeddingLoss(ignore_index=-1)"
    with pytest.raises(TypeError, match="expected tensors"):
        mt.CrammerSingerLoss()([[0.5, 0.1]], [0])
    with pytest.raises(TypeError):
        mt.CrammerSingerLoss()()


def test_another_default_device_changes_nothing():
    scores, target = torch.randn(6, 4).half().requires_grad_(), torch.randint(0, 4, (6,))
    with torch.device("meta"):
        for module in (mt.MultiMarginLoss(), mt.CrammerSingerLoss(), mt.MultiMarginLoss(reduction="none")):
            assert module(scores, target).device.type == "cpu"


def test_a_margin_matrix_survives_a_new_process():
    import subprocess
    import sys

    matrix = [[0.0, 2.0, 1.0], [1.0, 0.0, 3.0], [1.0, 1.0, 0.0]]
    module = mt.CrammerSingerLoss(margin_matrix=matrix, class_weights=[1, 2, 3])
    scores, target = torch.tensor([[0.1, 0.5, 0.2], [0.3, 0.1, 0.9]]), torch.tensor([0, 1])
    script = f"import pickle, torch; m = pickle.loads({pickle.dumps(module)!r}); print(m(torch.tensor({scores.tolist()}), torch.tensor([0, 1])).item())"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100).stdout
    assert float(out) == pytest.approx(module(scores, target).item())
