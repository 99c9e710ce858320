"""Writes embedding_input.npy and embedding_target.npy: torch's own random arrays, which no other generator draws.

HingeEmbeddingLoss on input randn(3, 5) and target randn(3, 5) after torch.manual_seed(0).
Run in an environment with tests/fixtures/requirements.txt installed: python examples/data/embedding.py
"""

import pathlib

import numpy as np
import torch

torch.manual_seed(0)
x = torch.randn(3, 5, requires_grad=True)
target = torch.randn(3, 5)
loss = torch.nn.HingeEmbeddingLoss()(x, target)
loss.backward()
folder = pathlib.Path(__file__).parent
np.save(folder / "embedding_input.npy", x.detach().numpy())
np.save(folder / "embedding_target.npy", target.numpy())
print(loss.item(), x.grad)
