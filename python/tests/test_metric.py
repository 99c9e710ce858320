"""Streaming metrics: exact sums, merges in any order, states."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest

import maxmargin as mm


def blocks(count=64, classes=3):
    rng = np.random.default_rng(7)
    for index in range(count):
        size = 1 + index * 37 % 200
        scale = 10.0 ** rng.integers(-8, 9)
        yield rng.normal(size=(size, classes)) * scale, rng.integers(0, classes, size), rng.uniform(0, 3, size)


def metric_of(part):
    metric = mm.Metric(mm.OneVsAll(), per_class=True)
    for scores, classes, weights in part:
        metric.update(scores, classes, sample_weights=weights)
    return metric


def merged_at_random(metrics, order):
    """Any tree over the metrics, the states passed on as bytes or pickled as a cluster does."""
    metrics = [pickle.loads(pickle.dumps(metric)) for metric in metrics]
    while len(metrics) > 1:
        other = metrics.pop(order.randrange(len(metrics)))
        metrics[order.randrange(len(metrics))].merge(other)
    return metrics[0]


def test_200_orders_of_merging_64_blocks_give_one_value():
    metrics = [metric_of([block]) for block in blocks()]
    states = set()
    plain = set()
    for seed in range(200):
        order = random.Random(seed)
        states.add(merged_at_random(metrics, order).state())
        sums = [metric.compute().per_class[0] * metric.compute().weight_sum for metric in metrics]
        order.shuffle(sums)
        plain.add(sum(sums))
    assert len(states) == 1
    assert states == {metric_of(blocks()).state()}
    # The control: sums of f64 differ by their order.
    assert len(plain) > 1


def test_a_dropped_and_a_doubled_block_are_seen():
    metrics = [metric_of([block]) for block in blocks(8)]
    whole = metric_of(blocks(8)).state()
    assert merged_at_random(metrics[1:], random.Random(0)).state() != whole
    assert merged_at_random([*metrics, metrics[0]], random.Random(0)).state() != whole


def test_update_forward_compute_reset():
    metric = mm.Metric(mm.BinaryHinge(labels="zero-one"))
    batch, running = metric.forward([0.5, 0.7], [0, 1])
    assert batch.value == running.value == pytest.approx(0.9)
    batch, running = metric.forward([0.1], [1])
    assert (batch.value, running.value) == (pytest.approx(0.9), pytest.approx(0.9))
    assert metric.updates == 2 and metric.compute().count == 3
    metric.reset()
    assert metric.updates == 0
    with pytest.raises(mm.InputError, match="no samples"):
        metric.compute()


def test_a_failed_update_changes_nothing():
    metric = mm.Metric(mm.BinaryHinge())
    metric.update([0.5], [1])
    state = metric.state()
    with pytest.raises(mm.InputError) as caught:
        metric.update([0.5, 0.5], [1, 3])
    assert caught.value.index == 1 and "update 1" in str(caught.value)
    assert metric.state() == state


def test_states_are_read_back_and_checked():
    metric = metric_of(blocks(5))
    other = mm.Metric(mm.OneVsAll(), per_class=True)
    other.load_state(metric.state())
    assert other == metric and other.compute().per_class == metric.compute().per_class
    for wrong in (mm.Metric(mm.OneVsAll()), mm.Metric(mm.OneVsAll(margin=2.0), per_class=True), mm.Metric(mm.CrammerSinger())):
        with pytest.raises(mm.InputError):
            wrong.load_state(metric.state())
        with pytest.raises(mm.InputError):
            wrong.merge(metric)
    for garbage in (b"", b"{}", b"\xff", metric.state()[:-5], metric.state().replace(b'"version":1', b'"version":9')):
        with pytest.raises(mm.InputError):
            other.load_state(garbage)
    assert other == metric


def test_metrics_are_values():
    metric = mm.Metric(mm.CrammerSinger(), reduction="sum")
    metric.update(np.ones((2, 3)), [0, 1])
    read = pickle.loads(pickle.dumps(metric))
    assert read == metric and repr(read) == repr(metric) and read.compute().value == 2.0
    assert eval(repr(metric), vars(mm).copy()).loss == metric.loss
    metric.merge(metric)
    assert metric.compute().value == 4.0


def test_score_kinds_are_checked_and_not_mixed():
    with pytest.raises(mm.InputError, match="score_kind"):
        mm.Metric(mm.BinaryHinge(), score_kind="logits")
    with pytest.raises(mm.InputError, match="score_kind"):
        mm.Metric(mm.BinaryHinge()).merge(mm.Metric(mm.BinaryHinge(), score_kind="logit"))


def test_many_threads_update_one_metric():
    from concurrent.futures import ThreadPoolExecutor

    parts = list(blocks(40))
    metric = mm.Metric(mm.OneVsAll(), per_class=True)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: metric.update(part[0], part[1], sample_weights=part[2]), parts))
    assert metric.state() == metric_of(parts).state()
