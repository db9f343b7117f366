"""A PyTorch model on the accelerator by one line: torch.compile(model, backend="plena").

    python examples/torch_compile.py

An encoder of torch.nn layers, two sequence lengths, weights that change in between, and an operator without a kernel:
every result beside PyTorch's own, with the programs that were compiled for it.
"""

from __future__ import annotations

import sys
import warnings

import torch
from torch import Tensor, nn

ALIKE = 0.99
"""Cosine similarity that a result must have; weights, inputs, K and V are rounded to MX E4M3."""


class Encoder(nn.Module):
    """Two transformer layers and a pooled, sorted readout: `torch.sort` has no kernel."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 4, 128, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.layers(x)
        torch._dynamo.graph_break()  # what follows becomes a graph of its own
        return y, y.mean(1).sort(-1).values


def main() -> int:
    """Print one line per call; the exit code is 1 if a result is not alike."""
    torch.manual_seed(0)
    model = Encoder().eval()
    on_machine = torch.compile(model, backend="plena")
    warnings.simplefilter("always", RuntimeWarning)
    alike = True
    for title, length in (("17 tokens", 17), ("40 tokens", 40), ("17 tokens, other weights", 17)):
        x = torch.randn(2, length, 64)
        if "other" in title:
            with torch.no_grad():
                model.layers.layers[0].linear1.weight.mul_(-1)
        with torch.no_grad():
            expected, found = model(x), on_machine(x)
        cosines = [
            torch.cosine_similarity(a.flatten(), b.flatten(), 0).item()
            for a, b in zip(expected, found, strict=True)
        ]
        alike &= min(cosines) >= ALIKE
        print(f"{title}: cosine similarity to PyTorch {cosines[0]:.4f}, of the readout {cosines[1]:.4f}")
    print("alike" if alike else "NOT ALIKE")
    return 0 if alike else 1


if __name__ == "__main__":
    sys.exit(main())
