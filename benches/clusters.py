"""What three local workers cost beside one process: python benches/clusters.py [dask] [ray]

Files of scores and labels are evaluated by one process, by three workers, and by three workers whose tasks do nothing, in turns. Then a
linear fit on three workers, by the time of one question. Needs the package with its extras dask and ray.
"""

from __future__ import annotations

import os
import pathlib
import pickle
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import maxmargin as mm
from maxmargin import _blocks

FILES, SAMPLES, ROUNDS = 64, 2_000_000, 7


def quartiles(seconds: list[float]) -> str:
    low, middle, high = statistics.quantiles(seconds, n=4)
    return f"{middle * 1e3:8.1f} ms ({low * 1e3:.1f} to {high * 1e3:.1f})"


def empty(task: _blocks.Task, *_: object) -> _blocks.State:
    """What an evaluation sends to a worker and gets back, without reading and evaluating."""
    return _blocks.State(task.metric())


def calls(scores: list[str], targets: list[str]) -> tuple[_blocks.Task, list[tuple]]:
    task = _blocks.Task(mm.BinaryHinge())
    return task, [(task, *block) for block in _blocks.file_blocks(task, (scores, targets), None)]


def one_process(scores: list[str], targets: list[str]) -> float:
    metric = mm.Metric(mm.BinaryHinge())
    for s, t in zip(scores, targets):
        metric.update(np.load(s, mmap_mode="r"), np.load(t, mmap_mode="r"))
    return metric.compute().value


def in_turns(names: dict) -> None:
    times: dict[str, list[float]] = {name: [] for name in names}
    for call in names.values():
        call()
    for _ in range(ROUNDS):
        for name, call in names.items():
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    for name, seconds in times.items():
        print(f"  {name:40}{quartiles(seconds)}")


def of_dask(scores: list[str], targets: list[str], expected: float) -> None:
    import dask.array as da
    import dask.base
    import distributed

    import maxmargin.dask
    from maxmargin.dask._chunks import tasks, tree

    cluster = distributed.LocalCluster(n_workers=0, dashboard_address=None)
    client = cluster.get_client()
    path = os.pathsep.join([str(pathlib.Path(mm.__file__).parents[1]), str(pathlib.Path(__file__).parent)])
    command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--no-nanny", "--nthreads", "1"]
    options = {"env": dict(os.environ, PYTHONPATH=path), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    workers = [subprocess.Popen([*command, "--no-dashboard"], **options) for _ in range(3)]
    client.wait_for_workers(3, timeout=60)

    def nothing() -> None:
        evaluated, blocks = calls(scores, targets)
        dask.base.compute(tree(evaluated.merged, "merge", tasks(empty, "empty", blocks)))

    assert mm.dask.evaluate(mm.BinaryHinge(), scores, targets).value == expected
    print("Dask")
    in_turns(
        {
            "one process": lambda: one_process(scores, targets),
            "three workers": lambda: mm.dask.evaluate(mm.BinaryHinge(), scores, targets),
            "three workers, tasks that do nothing": nothing,
        }
    )
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300_000, 128)).astype(np.float32)
    labels = np.where(features @ rng.normal(size=128) + 4 * rng.normal(size=300_000) > 0, 1, -1)
    for rows in (3_000, 300_000):
        x, y = da.from_array(features[:rows], chunks=(rows // 3, 128)), da.from_array(labels[:rows], chunks=rows // 3)
        x, y = dask.base.persist(x, y)
        classifier = mm.LinearClassifier(C=100 / rows, gap=1e-6)
        classifier.fit(features[:rows], labels[:rows])
        started = time.perf_counter()
        one = classifier.fit(features[:rows], labels[:rows])
        middle = time.perf_counter()
        fit = mm.dask.fit(classifier, x, y)
        ended = time.perf_counter()
        question = (ended - middle) / fit.questions
        print(
            f"  fit of {rows} x 128: one process {middle - started:.3f} s, three workers {ended - middle:.3f} s, "
            f"{fit.questions} questions of {question * 1e3:.1f} ms, primal {one.model.certificates[0].primal:.9g} and "
            f"{fit.model.certificates[0].primal:.9g}"
        )
    for worker in workers:
        worker.kill()
    client.close()
    cluster.close()


def of_ray(scores: list[str], targets: list[str], expected: float) -> None:
    import ray

    import maxmargin.ray

    path = os.pathsep.join([str(pathlib.Path(mm.__file__).parents[1]), str(pathlib.Path(__file__).parent)])
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
    def nothing() -> None:
        evaluated, blocks = calls(scores, targets)
        whole = _blocks.State(evaluated.metric())
        for state in maxmargin.ray._as_completed(empty, blocks, {}):
            whole.merge(state)

    assert mm.ray.evaluate(mm.BinaryHinge(), scores, targets).value == expected
    print("Ray")
    in_turns(
        {
            "one process": lambda: one_process(scores, targets),
            "three workers": lambda: mm.ray.evaluate(mm.BinaryHinge(), scores, targets),
            "three workers, tasks that do nothing": nothing,
        }
    )
    ray.shutdown()


def main() -> None:
    engines = sys.argv[1:] or ["dask", "ray"]
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(1)
        scores, targets = ([f"{folder}/{name}{n}.npy" for n in range(FILES)] for name in "st")
        for s, t in zip(scores, targets):
            np.save(s, rng.normal(size=SAMPLES).astype(np.float32))
            np.save(t, np.where(rng.random(SAMPLES) < 0.5, -1, 1).astype(np.int8))
        state = _blocks.state_of(_blocks.Task(mm.BinaryHinge()), _blocks.Place({}), None, np.zeros(3), np.ones(3))
        print(f"{FILES} files of {SAMPLES} samples, {os.cpu_count()} cores; a state has {len(pickle.dumps(state))} bytes")
        expected = one_process(scores, targets)
        for engine in engines:
            {"dask": of_dask, "ray": of_ray}[engine](scores, targets, expected)


if __name__ == "__main__":
    main()
