"""Method 2: HingeEmbeddingLoss alone, and in a network on made-up images. torch's lines, and ours below them.

The arrays of the first part are torch's own after torch.manual_seed(0): `examples/data` of the repository has them. `python
method2_hinge_embedding.py [IMAGES]` trains on so many images; the tutorial has 15,000.
"""

import pathlib
import sys

import numpy as np
from beside import beside

import maxmargin as mm

folder = pathlib.Path(__file__).parents[2] / "examples" / "data"
arrays = [np.load(folder / f"embedding_{name}.npy") for name in ("input", "target")]
images = int(sys.argv[1]) if len(sys.argv) > 1 else 15_000
rng = np.random.default_rng(0)
pixels = rng.integers(0, 256, (images, 3 * 28 * 28), dtype=np.uint8)
labels = rng.choice([-1, 1], images)
network = mm.Sequential(3 * 28 * 28, [mm.Dense(64, "relu"), mm.Dense(32, "relu"), mm.Dense(1, "tanh")], seed=1)
start = network.weights


def original():
    import torch

    input, target = torch.tensor(arrays[0], requires_grad=True), torch.tensor(arrays[1])
    loss = torch.nn.HingeEmbeddingLoss()(input, target)
    loss.backward()
    print(f"  loss {loss.item():.4f}, gradient at [0, 0] {input.grad[0, 0]:.4f}, at [2, 3] {input.grad[2, 3]:.4f}")

    layers = [torch.nn.Linear(3 * 28 * 28, 64), torch.nn.Linear(64, 32), torch.nn.Linear(32, 1)]
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2], torch.nn.Tanh())
    for parameter, weights in zip(model.parameters(), start):
        parameter.data = torch.tensor(weights, dtype=torch.float32)
    criterion, optimizer = torch.nn.HingeEmbeddingLoss(), torch.optim.Adam(model.parameters(), lr=1e-4)
    data = torch.utils.data.TensorDataset(torch.tensor(pixels), torch.tensor(labels, dtype=torch.float32)[:, None])
    for epoch in range(5):
        running = []
        for inputs, targets in torch.utils.data.DataLoader(data, batch_size=64):
            optimizer.zero_grad()
            value = criterion(model(inputs / 255), targets)
            value.backward()
            optimizer.step()
            running.append(value.item())
        print(f"  epoch {epoch + 1}: loss after 10 mini-batches {np.mean(running[:10]):.3f}, at the end {np.mean(running[-10:]):.3f}")


def ours():
    result = mm.evaluate(mm.EmbeddingHinge(), *arrays, gradient=True)
    print(f"  loss {result.value:.4f}, gradient at [0, 0] {result.gradient[0, 0]:.4f}, at [2, 3] {result.gradient[2, 3]:.4f}")

    network.weights = start
    trainer = mm.Trainer(network, mm.EmbeddingHinge(), mm.Adam(1e-4))
    # Bytes stand for x / 255, in a quarter of the memory.
    history = trainer.fit(pixels, labels, epochs=5, batch_size=64, shuffle=False)
    for epoch, running in enumerate(history.batch_losses):
        print(f"  epoch {epoch + 1}: loss after 10 mini-batches {np.mean(running[:10]):.3f}, at the end {np.mean(running[-10:]):.3f}")


if __name__ == "__main__":
    beside(original, ours)
