"""maxmargin.dask and maxmargin.ray: the bits of one process, whatever happens to the workers."""

from __future__ import annotations

import os
import pathlib
import random
import subprocess
import sys

import fault
import numpy as np
import pytest
from conftest import need

pq = need("pyarrow.parquet")
pa = need("pyarrow")

import maxmargin as mm  # noqa: E402
from maxmargin import _blocks  # noqa: E402

#: Where workers find what they import.
PATH = os.pathsep.join([str(pathlib.Path(mm.__file__).parents[1]), str(pathlib.Path(__file__).parent)])

FILES = 64
#: Ten runs of each take a minute.
RUNS = 10 if os.environ.get("MAXMARGIN_TESTS") == "all" else 2
NUMBERS = ("value", "weight_sum", "count", "active", "correct")


class Files:
    """Scores, class indices and weights in 64 files of three formats, and the numbers of one process."""

    loss = mm.CrammerSinger(ignore_index=-1)

    def __init__(self, folder: pathlib.Path) -> None:
        safetensors = need("safetensors.numpy")
        rng = np.random.default_rng(7)
        self.scores, self.targets, self.weights, self.arrays = [], [], [], []
        for n in range(FILES):
            rows = 500 + 37 * n
            scores = rng.normal(size=(rows, 5)).astype(np.float32)
            targets, weights = rng.integers(-1, 5, rows), rng.random(rows).astype(np.float32)
            np.save(folder / f"scores-{n}.npy", scores)
            safetensors.save_file({"y": targets}, folder / f"targets-{n}.safetensors")
            pq.write_table(pa.table({"w": weights, "x": weights}), folder / f"weights-{n}.parquet")
            self.scores.append(str(folder / f"scores-{n}.npy"))
            self.targets.append(f"{folder}/targets-{n}.safetensors:y")
            self.weights.append(folder / f"weights-{n}.parquet:w")
            self.arrays.append((scores, targets, weights))
        self.states = [self.state(n) for n in range(FILES)]
        self.one = self.metric(range(FILES)).compute()

    def state(self, n: int) -> mm.Metric:
        state = mm.Metric(self.loss)
        scores, targets, weights = self.arrays[n]
        state.update(scores, targets, sample_weights=weights)
        return state

    def metric(self, order) -> mm.Metric:
        metric = mm.Metric(self.loss)
        for n in order:
            metric.merge(self.states[n])
        return metric

    def evaluate(self, engine, **options) -> mm.Evaluation:
        return engine.evaluate(self.loss, self.scores, self.targets, sample_weights=self.weights, **options)

    def with_a_bad_label(self, folder: pathlib.Path) -> tuple[list[str], str]:
        """The files of targets, of which that of number 37 has a label that is none, and that file."""
        targets = self.arrays[37][1].copy()
        targets[123] = 9
        need("safetensors.numpy").save_file({"y": targets}, folder / "bad.safetensors")
        bad = f"{folder}/bad.safetensors:y"
        return [*self.targets[:37], bad, *self.targets[38:]], bad


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("files"))


def same_bits(got: mm.Evaluation, expected: mm.Evaluation) -> bool:
    return [getattr(got, name) for name in NUMBERS] == [getattr(expected, name) for name in NUMBERS]


def test_what_is_dropped_merged_twice_or_added_in_f64_is_caught(files):
    orders = [random.Random(n).sample(range(FILES), FILES) for n in range(50)]
    assert all(same_bits(files.metric(order).compute(), files.one) for order in orders)
    assert not same_bits(files.metric(range(FILES - 1)).compute(), files.one)
    assert not same_bits(files.metric([*range(FILES), 11]).compute(), files.one)
    # Plain additions of the blocks' sums: the order shows.
    parts = [state.compute() for state in files.states]
    sums = [(part.value * part.weight_sum, part.weight_sum) for part in parts]
    values = set()
    for order in orders:
        total = weight = 0.0
        for n in order:
            total, weight = total + sums[n][0], weight + sums[n][1]
        values.add(total / weight)
    assert len(values) > 1 and all(abs(value - files.one.value) < 1e-12 for value in values)


# Dask


def start_worker(address: str) -> subprocess.Popen:
    """A worker of one thread, which nobody replaces."""
    environment = dict(os.environ, PYTHONPATH=PATH)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class DaskCluster:
    def __init__(self) -> None:
        distributed = need("distributed")
        self.cluster = distributed.LocalCluster(n_workers=0, dashboard_address=None)
        self.client = self.cluster.get_client()
        self.workers: list[subprocess.Popen] = []
        self.fill()

    def fill(self) -> None:
        """Three workers, of which all are alive."""
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        self.workers += [start_worker(self.cluster.scheduler_address) for _ in range(3 - len(self.workers))]
        self.client.wait_for_workers(3, timeout=60)

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.client.close()
        self.cluster.close()


@pytest.fixture(scope="module")
def dask_cluster():
    cluster = DaskCluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def mm_dask():
    need("dask")
    import maxmargin.dask

    return maxmargin.dask


def test_dask_has_the_bits_of_one_process_though_a_worker_is_killed(files, mm_dask, dask_cluster, tmp_path):
    for run in range(RUNS):
        dask_cluster.fill()
        dask_cluster.client.run(fault.die_at_the_fifth_block, str(tmp_path / f"{run}"))
        assert same_bits(files.evaluate(mm_dask), files.one)
        assert (tmp_path / f"{run}").exists()
        killed = [worker.poll() for worker in dask_cluster.workers]
        assert sorted(map(str, killed)) == ["-9", "None", "None"], killed


def test_any_engine_merges_in_the_order_of_completion(files, dask_cluster):
    distributed = need("distributed")
    dask_cluster.fill()
    task = _blocks.Task(files.loss)
    blocks = _blocks.file_blocks(task, (files.scores, files.targets), files.weights)
    futures = [dask_cluster.client.submit(_blocks.state_of, task, *block, pure=False) for block in blocks]
    whole = _blocks.State(task.metric())
    for _, state in distributed.as_completed(futures, with_results=True):
        whole.merge(state)
    assert same_bits(whole.metric.compute(), files.one)


def test_dask_names_the_file_and_the_index_of_a_bad_label(files, mm_dask, dask_cluster, tmp_path):
    dask_cluster.fill()
    targets, bad = files.with_a_bad_label(tmp_path)
    with pytest.raises(mm.InputError) as raised:
        mm_dask.evaluate(files.loss, files.scores, targets, sample_weights=files.weights)
    check_bad_label(raised.value, bad)
    # What was counted before the failure is not counted again.
    assert same_bits(files.evaluate(mm_dask), files.one)


def check_bad_label(error: mm.InputError, bad: str) -> None:
    assert (error.file, error.index, error.input, error.value) == (bad, 123, "targets", "9")
    assert str(error) == f"{bad}: targets[123]: expected a class index in [0, 5) or the ignored -1, got 9"


def test_dask_workers_use_the_threads_that_they_have(files, mm_dask, dask_cluster):
    dask_cluster.fill()
    files.evaluate(mm_dask)
    assert set(dask_cluster.client.run(mm.get_num_threads).values()) == {1}


def test_dask_arrays(mm_dask, rng):
    da = need("dask.array")
    scores, targets, weights = rng.normal(size=(103, 6)).astype(np.float32), rng.integers(0, 6, 103), rng.random(103)
    got = mm_dask.evaluate(
        mm.WestonWatkins(),
        da.from_array(scores, chunks=(10, 4)),
        da.from_array(targets.reshape(103, 1), chunks=17),
        sample_weights=da.from_array(weights, chunks=103),
        gradient=True,
        losses=True,
    )
    whole = mm.evaluate(mm.WestonWatkins(), scores, targets, sample_weights=weights, gradient=True, losses=True)
    metric = mm.Metric(mm.WestonWatkins())
    for first in range(0, 103, 10):
        part = slice(first, first + 10)
        metric.update(scores[part], targets[part], sample_weights=weights[part])
    assert same_bits(got, metric.compute())
    assert got.gradient.shape == (103, 6) and got.gradient.dtype == np.float32
    assert np.array_equal(got.gradient.compute(), whole.gradient)
    assert np.array_equal(got.losses[13:27].compute(), whole.losses[13:27])


def test_dask_arrays_of_scores_in_two_axes(mm_dask, rng):
    da = need("dask.array")
    scores, targets = rng.normal(size=(20, 30)), np.where(rng.random((20, 30)) < 0.5, -1, 1)
    loss = mm.BinaryHinge(ignore_index=7)
    targets[3, 4] = 7
    chunked = da.from_array(scores, chunks=(7, 11)), da.from_array(targets, chunks=9)
    got = mm_dask.evaluate(loss, *chunked, gradient=True, losses=True)
    whole = mm.evaluate(loss, scores, targets, gradient=True, losses=True)
    assert abs(got.value - whole.value) < 1e-14 and got.count == whole.count == 599
    assert got.gradient.dtype == np.float64
    assert np.array_equal(got.gradient.compute(), whole.gradient)
    assert np.array_equal(got.losses.compute(), whole.losses)
    targets[17, 23] = 5
    with pytest.raises(mm.InputError) as raised:
        mm_dask.evaluate(loss, chunked[0], da.from_array(targets, chunks=9))
    assert raised.value.index == 17 * 30 + 23 and str(raised.value).startswith("targets[533]: ")


def test_dask_arrays_of_vectors(mm_dask, rng):
    da = need("dask.array")
    arrays = [rng.normal(size=(23, 4)).astype(np.float32) for _ in range(3)]
    got = mm_dask.evaluate(mm.TripletMargin(), *(da.from_array(x, chunks=5) for x in arrays), gradient=True)
    whole = mm.evaluate(mm.TripletMargin(), *arrays, gradient=True)
    assert got.gradient.shape == (3, 23, 4)
    assert np.array_equal(got.gradient.compute(), whole.gradient)


def test_columns_of_a_dask_dataframe(mm_dask, rng):
    dd, pd = need("dask.dataframe"), need("pandas")
    frame = pd.DataFrame({f"s{n}": rng.normal(size=50) for n in range(3)})
    frame["y"] = rng.integers(0, 3, 50)
    frame["w"] = rng.random(50)
    parts = dd.from_pandas(frame, npartitions=4)
    scores = parts[["s0", "s1", "s2"]]
    got = mm_dask.evaluate(mm.CrammerSinger(), scores, parts.y, sample_weights=parts.w, losses=True)
    whole = mm.evaluate(
        mm.CrammerSinger(), frame[["s0", "s1", "s2"]].to_numpy(), frame.y, sample_weights=frame.w, losses=True
    )
    assert abs(got.value - whole.value) < 1e-14
    assert np.array_equal(got.losses.compute(), whole.losses)
    frame.loc[33, "y"] = 3
    with pytest.raises(mm.InputError, match=r"^targets of chunk 2: targets\[7\]: ") as raised:
        mm_dask.evaluate(mm.CrammerSinger(), scores, dd.from_pandas(frame, npartitions=4).y)
    assert (raised.value.file, raised.value.index) == ("targets of chunk 2", 7)


def test_outputs_of_files(files, mm_dask, tmp_path):
    result = files.evaluate(mm_dask, gradient_out=tmp_path / "g", losses_out=tmp_path / "l", losses=True)
    check_outputs(files, result, tmp_path)
    losses = np.concatenate([np.load(tmp_path / "l" / f"scores-{n}.npy") for n in range(FILES)])
    assert np.array_equal(result.losses.compute(), losses)


def check_outputs(files: Files, result: mm.Evaluation, folder: pathlib.Path) -> None:
    assert same_bits(result, files.one)
    names = sorted(f"scores-{n}.npy" for n in range(FILES))
    assert sorted(os.listdir(folder / "g")) == sorted(os.listdir(folder / "l")) == names
    for n in (0, 37):
        scores, targets, weights = files.arrays[n]
        part = mm.evaluate(files.loss, scores, targets, sample_weights=weights, divisor=result.weight_sum, losses=True)
        assert np.array_equal(np.load(folder / "g" / f"scores-{n}.npy"), part.gradient)
        assert np.array_equal(np.load(folder / "l" / f"scores-{n}.npy"), part.losses)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"targets": ["a.npy"]}, "targets: expected 64 files, as many as of scores, got 1"),
        ({"targets": np.zeros(3)}, "targets: expected a list of files, as the scores are, got ndarray"),
        ({"scores": ["a.txt"] * FILES}, "scores: expected a file that ends in .npy, .safetensors, .parquet, got a.txt"),
        ({"targets": ["a.parquet"] * FILES}, "targets: expected the name of an array or of columns after a.parquet:"),
        ({"scores": ["none.npy"] * FILES}, "none.npy: .*No such file"),
        ({"scores": "s.npy"}, "scores: expected files in a list, also one alone, got s.npy"),
        ({"options": {"score_kind": "guessed"}}, "score_kind: expected raw, probability or logit"),
        ({"options": {"reduction": "none"}}, "reduction: expected one that gives a number"),
        ({"options": {"reduction": "mean-active", "gradient": True}}, "reduction: expected mean, mean-over-count or sum"),
    ],
)
def test_what_does_not_fit_is_said(files, mm_dask, change, words):
    scores, targets = change.get("scores", files.scores), change.get("targets", files.targets)
    with pytest.raises(mm.InputError, match=words):
        mm_dask.evaluate(files.loss, scores, targets, **change.get("options", {}))


def test_shapes_of_dask_arrays_that_do_not_fit_are_said(mm_dask):
    da = need("dask.array")
    with pytest.raises(mm.InputError, match=r"targets: expected shape \(6,\), got \(5,\)"):
        mm_dask.evaluate(mm.CrammerSinger(), da.zeros((6, 3)), da.zeros(5))
    with pytest.raises(mm.InputError, match=r"scores: expected shape \(N, C\), got \(6,\)"):
        mm_dask.evaluate(mm.CrammerSinger(), da.zeros(6), da.zeros(6))
    with pytest.raises(TypeError, match=r"expected 3 arguments after the loss \(scores, second_scores, targets\), got 2"):
        mm_dask.evaluate(mm.MarginRanking(), da.zeros(6), da.zeros(6))


def test_columns_of_lists_and_missing_values(mm_dask, tmp_path):
    scores = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float32)), 3)
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"s": scores, "y": [0, 2], "gap": [1, None], "ragged": [[1.0], [1.0, 2.0]]}), path)
    got = mm_dask.evaluate(mm.CrammerSinger(), [f"{path}:s"], [f"{path}:y"])
    assert got.value == mm.evaluate(mm.CrammerSinger(), np.arange(6, dtype=np.float32).reshape(2, 3), [0, 2]).value
    for names, words in [
        (("s", "gap"), "gap: .*1 missing"),
        (("ragged", "y"), "row 1 has 2 numbers, those before 1"),
        (("s", "no"), "no column 'no'; there are s, y, gap, ragged"),
    ]:
        with pytest.raises(mm.InputError, match=words):
            mm_dask.evaluate(mm.CrammerSinger(), [f"{path}:{names[0]}"], [f"{path}:{names[1]}"])


def test_bfloat16_in_safetensors_and_names_with_commas(mm_dask, tmp_path, rng):
    ml_dtypes, safetensors = need("ml_dtypes"), need("safetensors.numpy")
    scores = rng.normal(size=(4, 3)).astype(ml_dtypes.bfloat16)
    safetensors.save_file({"s": scores}, tmp_path / "x.safetensors")
    pq.write_table(pa.table({"a,b": [0, 1, 2, 0]}), tmp_path / "y.parquet")
    got = mm_dask.evaluate(mm.CrammerSinger(), [f"{tmp_path}/x.safetensors:s"], [f'{tmp_path}/y.parquet:"a,b"'])
    assert got.value == mm.evaluate(mm.CrammerSinger(), scores, [0, 1, 2, 0]).value


def test_masked_arrays_and_columns_of_pandas_own_types(mm_dask, rng):
    dd, pd = need("dask.dataframe"), need("pandas")
    scores, targets = rng.normal(size=30).astype(np.float32), np.where(rng.random(30) < 0.5, -1, 1)
    with pytest.raises(mm.ElementTypeError, match="none of them masked"):
        mm_dask.evaluate(mm.BinaryHinge(), np.ma.masked_array(scores, mask=scores > 1), targets)
    whole = mm.evaluate(mm.BinaryHinge(), scores, targets)
    frame = pd.DataFrame({"s": pd.array(scores, "Float32"), "t": pd.array(targets, "Int64")})
    parts = dd.from_pandas(frame, npartitions=3)
    got = mm_dask.evaluate(mm.BinaryHinge(), parts.s, parts.t)
    assert abs(got.value - whole.value) < 1e-12 and got.precision == "f32"


def test_outputs_overwrite_nothing_that_is_read(mm_dask, tmp_path):
    np.save(tmp_path / "s.npy", np.zeros(3, np.float32))
    os.mkdir(tmp_path / "y")
    np.save(tmp_path / "y" / "s.npy", np.ones(3, np.int8))
    data = mm.BinaryHinge(), [tmp_path / "s.npy"], [tmp_path / "y" / "s.npy"]
    for option, folder in [("gradient_out", tmp_path), ("losses_out", f"{tmp_path}/y/../y")]:
        with pytest.raises(mm.InputError, match=f"^{option}: expected a folder without files that are read"):
            mm_dask.evaluate(*data, **{option: folder})
    with pytest.raises(mm.InputError, match="^losses_out: expected another folder than gradient_out"):
        mm_dask.evaluate(*data, gradient_out=tmp_path / "o", losses_out=tmp_path / "o")
    with pytest.raises(mm.InputError, match="^losses_out: expected a folder that can be made"):
        mm_dask.evaluate(*data, losses_out=tmp_path / "s.npy")
    assert np.array_equal(np.load(tmp_path / "s.npy"), np.zeros(3)) and mm_dask.evaluate(*data).value == 1.0


def test_files_with_other_numbers_of_classes_are_refused(mm_dask, tmp_path):
    for n, classes in enumerate((7, 5)):
        np.save(tmp_path / f"s{n}.npy", np.zeros((4, classes), np.float32))
        np.save(tmp_path / f"t{n}.npy", np.arange(4))
    files = [[tmp_path / f"{name}{n}.npy" for n in range(2)] for name in "st"]
    with pytest.raises(mm.InputError, match=r"s1\.npy: scores: expected rows of 7, as in .*s0\.npy, got 5") as raised:
        mm_dask.evaluate(mm.CrammerSinger(), *files)
    assert raised.value.file == str(tmp_path / "s1.npy")


# Linear fits


class Rows:
    """Rows about a plane, and the certified optimum of one process."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.features = rng.normal(size=(6000, 12)).astype(np.float32)
        self.labels = np.where(self.features @ rng.normal(size=12) + 0.5 * rng.normal(size=6000) > 0, 3, -2)
        self.weights = rng.random(6000)
        self.classifier = mm.LinearClassifier(C=0.3, gap=1e-7)
        one = self.classifier.fit(self.features, self.labels, sample_weights=self.weights)
        self.one = one.model.certificates[0]

    def parts(self):
        da = need("dask.array")
        chunks = (1500, 1000, 2000, 1, 1499)
        features = da.from_array(self.features, chunks=(chunks, 7))
        return features, da.from_array(self.labels, chunks=999), da.from_array(self.weights, chunks=6000)

    def agrees(self, fit) -> bool:
        """Whether the optimum of one process lies between the bounds of the fit."""
        of = fit.model.certificates[0]
        return fit.end == "converged" and of.dual <= self.one.primal and self.one.dual <= of.primal


@pytest.fixture(scope="module")
def rows():
    return Rows()


def test_a_linear_fit_on_three_workers_has_the_certified_objective_of_one(rows, mm_dask, dask_cluster):
    dask_cluster.fill()
    features, labels, weights = rows.parts()
    fit = mm_dask.fit(rows.classifier, features, labels, sample_weights=weights)
    assert rows.agrees(fit) and fit.model.relative_gap <= 1e-7
    assert abs(fit.model.certificates[0].primal - rows.one.primal) <= 2e-7 * rows.one.primal
    # Without a part it is another problem.
    fewer = mm_dask.fit(rows.classifier, features[:4000], labels[:4000], sample_weights=weights[:4000])
    assert not rows.agrees(fewer)


def test_a_linear_fit_goes_on_where_a_worker_is_killed(rows, mm_dask, dask_cluster):
    dask_cluster.fill()
    features, labels, weights = rows.parts()
    victim, told = dask_cluster.workers[-1], []

    def on_progress(passes, steps, gap):
        told.append(gap)
        if steps == 4 and victim.poll() is None:
            victim.kill()
            victim.wait()

    fit = mm_dask.fit(rows.classifier, features, labels, sample_weights=weights, on_progress=on_progress)
    assert victim.poll() == -9 and len(told) > 8
    assert rows.agrees(fit)


def test_a_linear_fit_with_any_scheduler_says_what_is_wrong(rows, mm_dask):
    da = need("dask.array")
    features, labels, weights = rows.parts()
    assert rows.agrees(mm_dask.fit(rows.classifier, features, labels, sample_weights=weights))
    bad = rows.features.copy()
    bad[4321, 5] = np.nan
    with pytest.raises(mm.InputError, match=r"features\[51857\]") as raised:
        mm_dask.fit(rows.classifier, da.from_array(bad, chunks=(1000, 12)), labels)
    assert raised.value.index == 4321 * 12 + 5
    with pytest.raises(mm.InputError, match="intercept: expected none or a penalized one, for rows in parts, got free"):
        mm_dask.fit(mm.LinearClassifier(intercept="free"), features, labels)
    with pytest.raises(mm.InputError, match=r"targets: expected shape \(6000,\), got \(10,\)"):
        mm_dask.fit(rows.classifier, features, labels[:10])

    def fails(passes, steps, gap):
        raise KeyError("told")

    with pytest.raises(KeyError, match="told"):
        mm_dask.fit(rows.classifier, features, labels, on_progress=fails)
    stopped = mm_dask.fit(rows.classifier, features, labels, on_progress=lambda passes, steps, gap: steps < 2)
    assert stopped.end == "stopped" and stopped.newton_steps == 2


# Ray


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    ray = need("ray")
    need("ray.data")
    marker = tmp_path_factory.mktemp("ray") / "marker"

    environment = {"worker_process_setup_hook": fault.hook(str(marker)), "env_vars": {"PYTHONPATH": PATH}}
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.marker = marker
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def mm_ray(ray):
    import maxmargin.ray

    return maxmargin.ray


def test_ray_has_the_bits_of_one_process_though_a_worker_is_killed(files, ray, mm_ray):
    for _ in range(RUNS):
        ray.marker.unlink(missing_ok=True)
        assert same_bits(files.evaluate(mm_ray), files.one)
        assert ray.marker.exists()


def test_ray_names_the_file_and_the_index_of_a_bad_label(files, mm_ray, tmp_path):
    targets, bad = files.with_a_bad_label(tmp_path)
    with pytest.raises(mm.InputError) as raised:
        mm_ray.evaluate(files.loss, files.scores, targets, sample_weights=files.weights)
    check_bad_label(raised.value, bad)
    assert same_bits(files.evaluate(mm_ray), files.one)


def test_outputs_of_files_by_ray(files, mm_ray, tmp_path):
    result = files.evaluate(mm_ray, gradient_out=tmp_path / "g", losses_out=tmp_path / "l")
    check_outputs(files, result, tmp_path)


def test_ray_data(files, ray, mm_ray, rng):
    pd = need("pandas")
    frame = pd.DataFrame({f"s{n}": rng.normal(size=90) for n in range(3)})
    frame["y"], frame["w"] = rng.integers(0, 3, 90), rng.random(90)
    dataset = ray.data.from_pandas([frame[:40], frame[40:]])
    names = ["s0", "s1", "s2"]
    got = mm_ray.evaluate(mm.CrammerSinger(), dataset, names, "y", sample_weights="w", gradient=True, losses=True)
    metric = mm.Metric(mm.CrammerSinger())
    for part in (frame[:40], frame[40:]):
        metric.update(part[names].to_numpy(), part.y, sample_weights=part.w)
    assert same_bits(got, metric.compute())
    rows = got.gradient.to_pandas().sort_values("s0")
    arrays = frame[names].to_numpy(), frame.y
    expected = mm.evaluate(
        mm.CrammerSinger(), *arrays, sample_weights=frame.w, divisor=got.weight_sum, losses=True
    )
    order = np.argsort(frame.s0.to_numpy())
    assert np.array_equal(np.stack(rows.gradient.to_list()), expected.gradient[order])
    assert np.array_equal(rows.losses.to_numpy(), expected.losses[order])
    frame.loc[77, "y"] = 3
    with pytest.raises(mm.InputError, match=r"^a block of y: targets\[37\]: ") as raised:
        mm_ray.evaluate(mm.CrammerSinger(), ray.data.from_pandas([frame[:40], frame[40:]]), names, "y")
    assert raised.value.index == 37
    with pytest.raises(mm.InputError, match="targets: expected a column among s0, s1, s2, y, w, got z"):
        mm_ray.evaluate(mm.CrammerSinger(), dataset, names, "z")
