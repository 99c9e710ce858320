"""Losses and linear fits over Dask's arrays, columns of its dataframes, and lists of files, on as many machines as a cluster has.

>>> import dask.array as da
>>> import numpy as np
>>> import maxmargin as mm
>>> import maxmargin.dask
>>> scores = da.from_array(np.array([0.5, -0.25, 2.0, 1.5], np.float32), chunks=2)
>>> targets = da.from_array(np.array([1, 1, -1, 1]), chunks=2)
>>> mm.dask.evaluate(mm.BinaryHinge(), scores, targets).value
1.1875

A block (a chunk, a partition or a file) is evaluated where it is, and some hundred bytes of sums come back. Sums are merged exactly: the
value has the same bits whatever the workers, their order and their failures, on processors of one kind.

>>> features = da.from_array(np.array([[0, 1], [1, 3], [4, 1], [5, 3]], np.float32), chunks=(2, 2))
>>> fit = mm.dask.fit(mm.LinearClassifier(C=10.0, gap=1e-6), features, da.from_array(np.array([0, 0, 1, 1]), chunks=2))
>>> fit.end, fit.model.relative_gap <= 1e-6
('converged', True)
"""

from ._evaluate import evaluate
from ._linear import PartsFit, fit

__all__ = ["PartsFit", "evaluate", "fit"]
