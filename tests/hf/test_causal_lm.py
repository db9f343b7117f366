"""Language models of transformers as programs, on small random ones: the same tokens as PyTorch's, call by call."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plena import PlenaError, evaluate
from plena.errors import FullCacheError, FullCacheWarning, PositionsWarning
from plena.hf import PlenaForCausalLM
from plena.hf.compiling import StepSizes
from plena.hf.folder import MANIFEST
from plena.hf.step_check import check_step
from plena.hf.step_module import CachedStep
from tests.hf.small_models import SIZES, exact_machine, prompt, small
from tests.kernels.checking import machine

transformers = pytest.importorskip("transformers")


def _closeness(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@torch.no_grad()
def _check(lm: PlenaForCausalLM, model: Any, ids: Tensor) -> None:
    """Logits are PyTorch's, and so is the token wherever PyTorch is sure."""
    found, wanted = lm(ids).logits[0, -1], model(ids).logits[0, -1]
    assert _closeness(found, wanted) < 0.05
    first, second = wanted.topk(2).values
    if first - second > 0.1 * wanted.abs().max():
        assert int(found.argmax()) == int(wanted.argmax())


def test_programs_by_name(lm: PlenaForCausalLM) -> None:
    assert list(lm.programs) == ["prefill-8", "decode-16", "decode-40"]
    assert lm.programs["decode-40"].stats().static < 1.2 * lm.programs["decode-16"].stats().static


@pytest.mark.parametrize("length", [1, 3, 7, 9, 10, 17, 25, 40])
def test_prompts_of_any_length(lm: PlenaForCausalLM, model: Any, length: int) -> None:
    _check(lm, model, prompt(length))


def test_token_by_token_across_buckets(lm: PlenaForCausalLM, model: Any) -> None:
    ids = prompt(20)
    for length in range(1, 21):
        _check(lm, model, ids[:, :length])
    assert lm._programs.runs["decode-16"] >= 16 and lm._programs.runs["decode-40"] >= 4


@pytest.mark.parametrize(("formats", "bound"), [("bf16", 0.01), ("shipped", 0.03)])
@torch.no_grad()
def test_a_cache_filled_by_prefill_and_one_filled_token_by_token(formats: str, bound: float) -> None:
    lm = PlenaForCausalLM.from_pretrained(
        small(num_hidden_layers=1), max_length=16, prefill=(8,), formats=formats, target=machine(16)
    )
    ids = prompt(10)
    filled = lm(ids).logits[0, -1]
    assert lm._programs.runs["prefill-8"] == 1
    lm(prompt(1, seed=5))
    for length in range(1, 11):
        by_token = lm(ids[:, :length]).logits[0, -1]
    assert lm._programs.runs["prefill-8"] == 1
    assert _closeness(by_token, filled) < bound


def test_generate_is_transformers_own(lm: PlenaForCausalLM, model: Any) -> None:
    """Two calls in a row: the second starts over; then a second turn, of which only the new tokens are computed."""
    ids = prompt(6)
    settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    first = lm.generate(ids, **settings)
    assert first.shape == (1, 14) and torch.equal(first[:, :6], ids)
    assert torch.equal(lm.generate(ids, **settings), first)
    for length in range(6, 14):
        _check(lm, model, first[:, :length])
    turn = torch.cat([first, prompt(3, seed=1)], 1)
    lm.generate(turn, **{**settings, "max_new_tokens": 1})
    assert sum(lm.report().runs.values()) == 4, "the last token of the first turn, and three new ones"


def test_stopping_sampling_and_streaming(lm: PlenaForCausalLM) -> None:
    ids = prompt(5)
    greedy = lm.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=None)
    stop = int(greedy[0, 7])
    stopped = lm.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=stop)
    assert torch.equal(stopped[0], greedy[0, : greedy[0].tolist().index(stop, 5) + 1])
    torch.manual_seed(3)
    sampled = lm.generate(ids, max_new_tokens=6, do_sample=True, temperature=2.0, eos_token_id=None)
    torch.manual_seed(3)
    assert torch.equal(
        lm.generate(ids, max_new_tokens=6, do_sample=True, temperature=2.0, eos_token_id=None), sampled
    )

    class Streamer:
        seen: list[int] = []

        def put(self, value: Tensor) -> None:
            self.seen.extend(value.flatten().tolist())

        def end(self) -> None:
            self.seen.append(-1)

    lm.generate(ids, max_new_tokens=3, do_sample=False, eos_token_id=None, streamer=Streamer())
    assert Streamer.seen == [*greedy[0, :8].tolist(), -1]


def test_padding_is_dropped(lm: PlenaForCausalLM) -> None:
    ids = prompt(5)
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.int64), ids], 1)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
    assert torch.equal(lm(padded, attention_mask=mask).logits, lm(ids).logits)


def test_another_beginning_is_computed_anew(lm: PlenaForCausalLM, model: Any) -> None:
    ids = prompt(12)
    lm(ids)
    other = ids.clone()
    other[0, 4] = (other[0, 4] + 1 - 3) % 94 + 3
    _check(lm, model, other)


def test_report(lm: PlenaForCausalLM) -> None:
    lm.generate(prompt(9), max_new_tokens=4, do_sample=False, eos_token_id=None)
    report = lm.report()
    assert report.tokens == 4 and report.runs == {"prefill-8": 1, "decode-16": 4}
    decode, prefill = (lm.programs[name].stats() for name in ("decode-16", "prefill-8"))
    for profile, cycles in report.cycles.items():
        assert cycles == (4 * decode.cycles[profile] + prefill.cycles[profile]) / 4
        assert report.latency(profile) == cycles + (4 * decode.dma_cycles + prefill.dma_cycles) / 4
        assert report.tokens_per_second(profile) == 1e9 / report.latency(profile)
    # What has to be moved at least: the weights (an embedding is looked up by rows), and a cache row for each token.
    state = sum(t.numel() for t in lm.programs["decode-16"].state.values())
    weights = 2 * (64 * (64 + 64 + 64) + 3 * 64 * 96) + 64 * 97
    assert 2 * weights < report.payload_read < report.read
    assert 2 * state / 40 < report.payload_written <= report.written
    assert "4 tokens (1 x prefill-8, 4 x decode-16)" in str(report)


def test_a_profile_without_cycles_for_a_program_is_not_reported(
    lm: PlenaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm.generate(prompt(9), max_new_tokens=1, do_sample=False, eos_token_id=None)
    assert "rtl-v1" in lm.report().cycles
    monkeypatch.delitem(lm.programs["decode-16"].stats().cycles, "rtl-v1")
    assert "rtl-v1" not in lm.report().cycles and "transactional" in lm.report().cycles


def test_a_folder(lm: PlenaForCausalLM, tmp_path: Path) -> None:
    ids = prompt(9)
    settings = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None}
    expected = lm.generate(ids, **settings)
    lm.save_pretrained(tmp_path / "lm")
    images = sorted(path.parent.name for path in (tmp_path / "lm").glob("*/hbm_for_behave_sim.bin"))
    assert images == ["decode-40"], "the others share its weights"
    first, second = (PlenaForCausalLM.from_pretrained(tmp_path / "lm") for _ in range(2))
    assert torch.equal(first.generate(ids, **settings), expected)
    assert torch.equal(second.generate(ids, **settings), expected)
    assert first.config.hidden_size == 64 and first.batch == 2
    turn = torch.cat([expected, prompt(3, seed=1)], 1)
    wanted = lm.generate(turn, **settings)
    assert torch.equal(second.generate(turn, **settings), wanted), "another text in between does not matter"
    assert torch.equal(first.generate(ids, **settings), expected), "each has a cache of its own"
    assert not any(tensor.any() for tensor in first.programs["decode-40"].state.values()), (
        "a folder holds no text"
    )
    with pytest.raises(PlenaError, match="compiled already"):
        PlenaForCausalLM.from_pretrained(tmp_path / "lm", max_length=8)
    (tmp_path / "lm" / "decode-40" / "hbm_for_behave_sim.bin").write_bytes(b"no image")
    with pytest.raises(PlenaError, match="truncated"):
        PlenaForCausalLM.from_pretrained(tmp_path / "lm")
    for other in ("../x", "decode-/../prefill-8"):
        (tmp_path / "lm" / MANIFEST).write_text(
            f'{{"format": 5, "batch": 1, "skipped": null, "programs": ["{other}"]}}'
        )
        with pytest.raises(PlenaError, match="something else than programs"):
            PlenaForCausalLM.from_pretrained(tmp_path / "lm")


@pytest.mark.parametrize("kind", ["Qwen2", "Mistral"])
def test_other_families(kind: str) -> None:
    model = small(kind, num_hidden_layers=1)
    lm = PlenaForCausalLM.from_pretrained(
        model, max_length=16, target=exact_machine(), prefill=(4,), buckets=(16,)
    )
    for length in (1, 6, 7, 16):
        _check(lm, model, prompt(length))


def test_a_window_of_all_layers() -> None:
    """A configuration without `layer_types`: its window holds for each layer."""
    model = small("Mistral", num_hidden_layers=1, sliding_window=5)
    assert not getattr(model.config, "layer_types", None)
    lm = PlenaForCausalLM.from_pretrained(
        model, max_length=16, target=exact_machine(), prefill=(4,), buckets=(16,)
    )
    for length in (5, 6, 16):
        _check(lm, model, prompt(length))


@pytest.mark.parametrize("kind", ["Mistral", "Starcoder2", "Phi3", "Qwen2", "Qwen3"])
def test_steps_that_give_the_logits(kind: str) -> None:
    mixed = {"use_sliding_window": True, "max_window_layers": 1} if kind.startswith("Qwen") else {}
    check_step(small(kind, sliding_window=5, **mixed), 23)
    check_step(small(kind, sliding_window=64, **mixed), 1)


def test_a_rotary_embedding_that_depends_on_the_length() -> None:
    """Beyond the original length all positions turn otherwise, so a padded prefill would not fit what follows."""
    half = small("Llama").config.head_dim // 2
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "factor": 4.0, "short_factor": [1.0] * half}
    rope |= {"long_factor": [8.0] * half, "original_max_position_embeddings": 32}
    model = small("Llama", rope_parameters=rope)
    for weight in model.parameters():
        weight.data *= 4 if weight.ndim > 1 else 1
    check_step(model, 32)
    with pytest.raises(PlenaError, match="first 16 tokens are others in a text of 128"):
        check_step(model, 128)


LATENT: dict[str, Any] = {
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_rope_head_dim": 8,
    "head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
}


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Cohere", {}),
        ("Granite", {"logits_scaling": 8.0}),
        ("Gemma2", {"query_pre_attn_scalar": 16, "sliding_window": 5}),
        ("GPTBigCode", {"n_embd": 64, "n_head": 4, "n_positions": 64}),
        ("Mpt", {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 64}),
        ("DeepseekV3", LATENT),
    ],
)
def test_logits_that_are_scaled_or_capped_and_caches_of_other_sizes(
    kind: str, settings: dict[str, Any]
) -> None:
    """What a model does behind its last layer belongs to the step, and a layer says itself what it keeps."""
    check_step(small(kind, **settings), 23)


def test_chunks_of_keys() -> None:
    sizes = {**SIZES, "attention_chunk_size": 5, "intermediate_size_mlp": 96, "num_local_experts": 2}
    config = transformers.Llama4TextConfig(**sizes, no_rope_layers=[1, 0])
    assert set(config.layer_types) == {"chunked_attention", "full_attention"}
    torch.manual_seed(0)
    model = transformers.Llama4ForCausalLM(config).eval()
    check_step(model, 23)
    assert CachedStep(model, 23).spans == {"chunked_attention": 5}
    assert not CachedStep(model, 23, bucket=5).spans, "a chunk holds all keys"


@pytest.mark.parametrize("kind", ["Gemma2", "DeepseekV3", "Glm"])
def test_other_caches_on_the_machine(kind: str) -> None:
    """Glm's pairs of lanes turn before the heads of 8 features lie as the cache has them, each in rows of its own."""
    settings = {
        "Glm": {"head_dim": 8, "num_hidden_layers": 1},
        "Gemma2": {"query_pre_attn_scalar": 16, "num_hidden_layers": 1},
        "DeepseekV3": {**LATENT, "num_hidden_layers": 1},
    }
    model = small(kind, **settings[kind])
    lm = PlenaForCausalLM.from_pretrained(
        model, max_length=16, target=exact_machine(), prefill=(4,), buckets=(16,)
    )
    for length in (1, 6, 16):
        _check(lm, model, prompt(length))


def test_a_model_that_makes_its_masks_itself() -> None:
    """BLOOM's biases and masks are of what its cache says, one position for all sequences; it has no prefill."""
    model = small("Bloom", n_head=4, n_layer=1)
    step = CachedStep(model, 16)
    assert step.masks_itself and not CachedStep(small(num_hidden_layers=1), 16).masks_itself
    with pytest.raises(PlenaError, match=r"two sequences at different positions.*Use batch=1"):
        check_step(model, 16, batch=2)
    with pytest.raises(PlenaError, match=r"token by token: prefill=\(\)\."):
        PlenaForCausalLM.from_pretrained(small("Bloom", n_head=4), max_length=16, prefill=(4,))
    lm = PlenaForCausalLM.from_pretrained(model, max_length=16, target=exact_machine(), prefill=())
    _check(lm, model, prompt(9))


def test_shares_of_chosen_experts_that_sigmoids_weigh() -> None:
    """MiniMax-M2's are not divided by a sum that anything is added to, and only the chosen ones are read."""
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "rotary_dim": 8}
    model = small("MiniMaxM2", **experts, num_hidden_layers=1)
    lm = PlenaForCausalLM.from_pretrained(model, max_length=16, target=exact_machine(), prefill=())
    _check(lm, model, prompt(5))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            "GPTNeo",
            {"window_size": 5, "hidden_size": 64, "num_heads": 4, "attention_types": [[["local"], 2]]},
            r"does not give its logits: at position \d+ they differ by",
        ),
        ("Lfm2", {"layer_types": ["conv", "full_attention"]}, "a cache for layers of type conv"),
    ],
)
def test_steps_that_leave_something_out(kind: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlenaError, match=message):
        PlenaForCausalLM.from_pretrained(small(kind, **settings), max_length=16, prefill=(4,))


def test_a_full_cache_changes_nothing(lm: PlenaForCausalLM) -> None:
    lm(prompt(5))
    before = list(lm._texts.tokens[0])
    with pytest.raises(
        PlenaError, match=r"41 tokens do not fit the cache of 40 positions.*larger max_length"
    ):
        lm(prompt(41))
    assert lm._texts.tokens[0] == before
    with pytest.raises(PlenaError, match="no token"):
        lm(torch.zeros(1, 0, dtype=torch.int64))


def test_an_answer_that_fills_the_cache(lm: PlenaForCausalLM) -> None:
    """What was asked for and does not fit is an error before anything is computed, what a configuration says is not."""
    settings = {"do_sample": False, "eos_token_id": None}
    with pytest.raises(PlenaError, match=r"30 tokens and 12 new ones .* 40 positions. .*max_new_tokens=11"):
        lm.generate(prompt(30), max_new_tokens=12, **settings)
    assert not lm._texts.tokens[0]
    longest = lm.generate(prompt(30), max_new_tokens=11, **settings)
    never = next(n for n in range(97) if n not in longest)
    with pytest.raises(FullCacheError, match=r"cache of 40 positions is full\. Ask for fewer") as caught:
        lm.generate(prompt(30), max_new_tokens=12, do_sample=False, eos_token_id=never)
    assert torch.equal(caught.value.sequences, longest)
    with pytest.warns(FullCacheWarning, match="40 positions is full"):
        found = lm.generate(prompt(30), transformers.GenerationConfig(max_new_tokens=256, **settings))
    assert torch.equal(found, longest) and found.shape == (1, 41)
    left = torch.nn.functional.pad(prompt(30), (5, 0))
    mask = (torch.arange(35) >= 5).long()[None]
    with pytest.warns(FullCacheWarning):
        padded = lm.generate(
            left, transformers.GenerationConfig(max_length=99, **settings), attention_mask=mask
        )
    assert torch.equal(padded[:, 5:], longest)


def test_ids_out_of_range(lm: PlenaForCausalLM) -> None:
    with pytest.raises(PlenaError, match=r"97 .*out of range"):
        lm(torch.tensor([[5, 97]]))
    _ = lm(torch.tensor([[5, 96]]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "batch must be a whole number above 0, not 0"),
        ({"batch": 1.0}, "batch must be a whole number"),
        ({"max_length": 0}, "max_length must be a whole number above 0, not 0. Write max_length=256"),
        ({"max_length": 64.0}, "max_length must be a whole number above 0, not 64.0"),
        ({"prefill": (64,), "max_length": 32}, "a prefill of 64 tokens does not fit a cache of 32"),
        ({"prefill": 0}, r"prefill must be whole numbers above 0, not 0. Give a list, as prefill=\(64,\)"),
        ({"prefill": (-4,)}, r"prefill must be .*, not \(-4,\). Give a list, as prefill=\(64,\)"),
        ({"buckets": (0,)}, "buckets must be"),
        ({"buckets": ()}, "buckets are empty"),
        ({"buckets": 64}, r"buckets must be whole numbers above 0, not 64. Give a list, as buckets=\(64,\)"),
        ({"buckets": "64"}, r"buckets must be .* not '64'. Give a list, as buckets=\(128, 256\)"),
        (
            {"buckets": [128], "max_length": 64},
            "a bucket of 128 keys in a cache of max_length=64 positions. Leave max_length out or make it 128",
        ),
        ({"max_lenght": 64}, r"no option 'max_lenght'. Did you mean max_length\? The arguments are model, "),
        ({"stagging": "nearest"}, r"Did you mean staging\?"),
    ],
)
def test_sizes_that_make_no_sense(model: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PlenaError, match=message):
        PlenaForCausalLM.from_pretrained(model, **arguments)


@pytest.mark.parametrize(
    ("sizes", "prefill", "buckets"),
    [
        ((None, None, None), (64,), (128, 256)),
        ((600, None, None), (64,), (128, 256, 512, 600)),
        ((100, None, None), (64,), (100,)),
        ((32, None, None), (32,), (32,)),
        ((None, (), [64, 16]), (), (16, 64)),
        ((64, [8, 4], [16]), (4, 8), (16, 64)),
    ],
)
def test_sizes(sizes: tuple[Any, Any, Any], prefill: tuple[int, ...], buckets: tuple[int, ...]) -> None:
    assert StepSizes.of(*sizes) == StepSizes(prefill, buckets)


def test_a_cache_beyond_a_table_of_positions() -> None:
    config = transformers.GPT2Config(vocab_size=97, n_embd=64, n_layer=1, n_head=4, n_positions=32)
    model = transformers.GPT2LMHeadModel(config).eval()
    check_step(model, 32)
    with pytest.raises(PlenaError, match=r"33 positions.* ends after 32 .*Use a max_length of at most 32"):
        check_step(model, 33)


LEARNED: dict[str, Any] = {"num_hidden_layers": 1, "is_decoder": True, "max_position_embeddings": 34}
"""RoBERTa reads its table from the padding's id + 1 on, so that it has positions for two tokens less."""


def test_positions_that_are_counted_by_tokens(tmp_path: Path) -> None:
    """RoBERTa's are those of a table further on, and padding is not counted: a text with it is refused."""
    model = small("Roberta", **LEARNED, pad_token_id=1)
    lm = PlenaForCausalLM.from_pretrained(
        model, max_length=16, batch=2, target=exact_machine(), prefill=(4,), buckets=(16,)
    )
    _check(lm, model, prompt(9))
    _check(lm, model, torch.tensor([[7]]))
    lm.save_pretrained(tmp_path)
    padded, mask = torch.tensor([[5, 1, 7]]), torch.tensor([[1, 0, 1]])
    for one in (lm, PlenaForCausalLM.from_pretrained(tmp_path)):
        with pytest.raises(
            PlenaError, match="token 1 is padding, behind which this model counts positions other"
        ):
            one(padded)
        assert one(padded, mask).logits.equal(lm(torch.tensor([[5, 7]])).logits)
    with pytest.raises(PlenaError, match=r"33 positions.* ends after 32 "):
        check_step(model, 33)


@pytest.mark.parametrize(
    ("kind", "settings", "offset"),
    [
        ("XLMRoberta", {**LEARNED, "pad_token_id": 1}, 2),
        (
            "Bart",
            {"d_model": 64, "decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 64},
            2,
        ),
        (
            "Marian",
            {"d_model": 64, "decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 64},
            0,
        ),
    ],
)
def test_positions_that_are_counted_by_the_cache(kind: str, settings: dict[str, Any], offset: int) -> None:
    """Of one sequence, and of two at different positions."""
    model = small(kind, **settings)
    check_step(model, 23, batch=2)
    assert set(CachedStep(model, 23).tables.offsets.values()) == {offset}


def test_a_model_whose_layers_take_one_sequence() -> None:
    """RoFormer turns heads by a table of positions that has no axis of sequences."""
    model = small("RoFormer", num_hidden_layers=1, is_decoder=True, embedding_size=64)
    check_step(model, 23)
    with pytest.raises(PlenaError, match=r"on two sequences: RuntimeError: .*Use batch=1"):
        check_step(model, 23, batch=2)


def test_views_of_several_sequences() -> None:
    """GPT-NeoX-Japanese takes keys as [batch * heads, keys, size]."""
    check_step(small("GPTNeoXJapanese", num_hidden_layers=1), 23, batch=2)


def test_a_cache_beyond_what_a_model_was_made_for() -> None:
    model = small(num_hidden_layers=1, max_position_embeddings=32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_step(model, 32)
    with pytest.warns(PositionsWarning, match="33 positions, and the model was made for 32"):
        check_step(model, 33)


def test_what_is_no_language_model(tmp_path: Path) -> None:
    with pytest.raises(PlenaError, match="a Linear is no causal language model"):
        PlenaForCausalLM.from_pretrained(torch.nn.Linear(4, 4))
    with pytest.raises(PlenaError, match="no such folder or file"):
        PlenaForCausalLM.from_pretrained(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PlenaError, match="transformers cannot load it"):
        PlenaForCausalLM.from_pretrained(tmp_path / "empty")


def test_a_folder_without_all_weights(model: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    lost = next(name for name in weights if "mlp" in name)
    del weights[lost]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(PlenaError, match=f"no weights for {lost}, which transformers fills at random"):
        PlenaForCausalLM.from_pretrained(tmp_path)


def test_evaluation(lm: PlenaForCausalLM, model: Any) -> None:
    """Token by token in bf16: as good as PyTorch in bfloat16, and labels are the next tokens."""
    prompts = [[5, 9, 33, 2, 71, 8], torch.tensor([[4, 4, 90, 17, 3]])]
    report = evaluate(lm, prompts)
    assert report.judgements["emulator"].rows == 11 and len(lm.programs) == 3
    assert report.kl.value < 4 * report.judgements["bfloat16"].kl.value + 1e-5
    assert report.judgements["quantized"].kl.value <= report.kl.value + 1e-5
    assert report.agreement.value > 0.9 and report.perplexity_ratio.value == pytest.approx(1, abs=0.05)
    for wrong, message in (
        ("text", "needs a tokenizer"),
        ([97], "tokens must be 0 to 96"),
        ([1] * 41, "Give 1 to 40 token ids"),
        ([0.5], "tokens of type float32"),
    ):
        with pytest.raises(PlenaError, match=message):
            evaluate(lm, [wrong])
