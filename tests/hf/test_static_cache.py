"""The static-cache export of transformers, which ExecuTorch and optimum use, keeps counters: refused by one error."""

from __future__ import annotations

import pytest
import torch

import plena
from plena import PlenaError
from tests.hf.small_models import small

transformers = pytest.importorskip("transformers")


def test_counters_of_a_static_cache() -> None:
    from transformers.integrations.executorch import TorchExportableModuleForDecoderOnlyLM

    model = small(num_hidden_layers=1)
    model.generation_config = transformers.GenerationConfig(
        use_cache=True,
        cache_implementation="static",
        cache_config={"batch_size": 1, "max_cache_len": 8},
        max_length=8,
    )
    exported = TorchExportableModuleForDecoderOnlyLM(model).export(
        input_ids=torch.zeros(1, 1, dtype=torch.int64), cache_position=torch.tensor([0])
    )
    with pytest.raises(
        PlenaError, match=r"changes its buffer cumulative_length_0 of int64.*an input of the model"
    ):
        plena.compile(exported)
