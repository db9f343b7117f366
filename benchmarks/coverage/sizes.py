"""Small values for the fields of a configuration of transformers, by the names that its families share.

Fields that no table names keep their default. A family whose fields must fit together in its own way says so in
`benchmarks.coverage.families`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import transformers


@dataclass(frozen=True)
class Size:
    """How large a configuration is.

    Attributes:
        hidden: features of a token; `heads` heads of `head_dim`, `kv_heads` of them with keys of their own.
        inner: features between the two products of an MLP.
        image: pixels of an image's edge, `patch` of a patch.
        length: tokens of a sequence.
        vocabulary: tokens that there are.
    """

    name: str
    hidden: int
    heads: int
    head_dim: int
    kv_heads: int
    inner: int
    image: int
    patch: int
    length: int
    vocabulary: int = 128
    batch: int = 1


USUAL = Size("usual", hidden=64, heads=4, head_dim=16, kv_heads=2, inner=128, image=32, patch=8, length=16)
ODD = Size(
    "odd", hidden=72, heads=3, head_dim=24, kv_heads=1, inner=100, image=40, patch=8, length=13, batch=2
)
SIZES = {size.name: size for size in (USUAL, ODD)}

LAYERS = 2

_NAMES: dict[str, str] = {
    "hidden": "hidden_size d_model n_embd embed_dim hidden_dim dim embedding_size out_hidden_size projection_dim "
    "encoder_hidden_size decoder_hidden_size text_hidden_size projector_hidden_size output_dim mask_feature_size "
    "fpn_hidden_size encoder_hidden_dim word_embed_proj_dim d_embed emb_dim hidden_channels bottleneck_features "
    "fusion_hidden_size text_embed_dim cross_attention_hidden_size entity_emb_size conv_dim_hidden vision_hidden_size "
    "sequence_dim lstm_hidden prompt_encoder_hidden_size text_dim vision_dim projection_size share_dim "
    "vision_embed_dim d_latents_ q_hidden_size decoder_embed_dim hidden_features codevector_dim proj_codevector_dim "
    "classifier_proj_size_ language_dim true_hidden_size lru_width attention_hidden_size_ image_hidden_size "
    "vision_hidden_dim context_dim backbone_hidden_size latent_channels vision_feature_dim",
    "inner": "intermediate_size encoder_ffn_dim decoder_ffn_dim ffn_dim mlp_dim d_ff d_inner n_inner d_ffn "
    "ffn_hidden_size decoder_intermediate_size feed_forward_size shared_intermediate_size dim_feedforward "
    "ff_dim linear_units feedforward_dim mlp_hidden_size intermediate_dim moe_intermediate_size inner_dim dim_ff "
    "decoder_hidden_dim_ mlp_hidden_dim hidden_ff dense_intermediate_size shared_expert_intermediate_size",
    "heads": "num_attention_heads encoder_attention_heads decoder_attention_heads num_heads n_head n_heads "
    "attention_heads decoder_num_attention_heads num_cross_attention_heads num_self_attention_heads_ "
    "decoder_num_heads encoder_num_attention_heads text_num_attention_heads_ num_decoder_attention_heads "
    "entity_heads cross_num_attention_heads",
    "kv_heads": "num_key_value_heads n_kv_heads num_kv_heads multi_query_group_num n_head_kv",
    "head_dim": "head_dim d_kv d_head attention_head_size kv_channels attention_head_dim attn_head_dim "
    "qk_nope_head_dim v_head_dim",
    "image": "image_size img_size input_resolution_",
    "patch": "patch_size patch_stride_",
    "vocabulary": "vocab_size entity_vocab_size encoder_vocab_size decoder_vocab_size text_vocab_size",
}
_LAYER_NAMES = (
    "num_hidden_layers encoder_layers decoder_layers num_layers n_layer n_layers depth num_decoder_layers "
    "num_encoder_layers decoder_num_hidden_layers num_encoder_blocks_ encoder_num_hidden_layers "
    "max_window_layers num_blocks_ text_num_hidden_layers decoder_num_layers num_entity_layers"
)
_POSITION_NAMES = (
    "max_position_embeddings n_positions n_ctx max_seq_len max_source_positions_ max_sequence_length "
    "context_length_ max_target_positions seq_length max_2d_position_embeddings_"
)
_LAYERS, _POSITIONS = frozenset(_LAYER_NAMES.split()), frozenset(_POSITION_NAMES.split())
_FIXED: Mapping[str, int] = {
    "kv_lora_rank": 32,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "num_mtp_layers": 0,
    "type_vocab_size": 2,
    "mamba_d_state": 16,
    "query_pre_attn_scalar": 16,
    "sliding_window": 8,
    "num_local_experts": 8,
    "num_experts": 8,
    "n_routed_experts": 8,
    "moe_num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "moe_k": 2,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
}
_BY_NAME = {name: field for field, names in _NAMES.items() for name in names.split()}
_SHARED = {field.name for field in dataclasses.fields(transformers.PreTrainedConfig)}


def small_fields(configuration: Any, size: Size) -> dict[str, Any]:
    """Arguments that make a configuration class small, those of its parts as dictionaries.

    Args:
        configuration: a class derived from transformers.PreTrainedConfig.
        size: what they are.
    """
    given: dict[str, Any] = {}
    parts: Mapping[str, Any] = getattr(configuration, "sub_configs", None) or {}
    for field in dataclasses.fields(configuration):
        if field.name in parts:
            part = parts[field.name]
            if isinstance(part, type) and issubclass(part, transformers.PreTrainedConfig):
                given[field.name] = small_fields(part, size)
            continue
        if field.name in _SHARED:
            continue
        value = _small(field.name, _default(field), size)
        if value is not None:
            given[field.name] = value
    if "use_cache" in {field.name for field in dataclasses.fields(configuration)}:
        given["use_cache"] = False
    return given


def _default(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return None if field.default_factory is dataclasses.MISSING else field.default_factory()


def _small(name: str, default: Any, size: Size) -> Any:
    if isinstance(default, bool) or not isinstance(default, int | list | tuple):
        return None
    if isinstance(default, int):
        return _small_integer(name, default, size)
    if name in ("depths", "layers", "num_blocks", "num_block_repeats"):
        return type(default)([min(n, LAYERS) for n in default])
    return None


def _small_integer(name: str, default: int, size: Size) -> int | None:
    if name in _FIXED:
        return _FIXED[name]
    if name in _BY_NAME:
        return int(getattr(size, _BY_NAME[name]))
    if name in _LAYERS:
        return min(default, LAYERS)
    if name in _POSITIONS:
        return 64
    if name.endswith(("token_id", "token_index")) and default >= size.vocabulary:
        return size.vocabulary - 1
    return None
