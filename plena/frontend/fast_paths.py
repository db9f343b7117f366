"""What the operators of torch.nn's inference fast paths compute, in operators that the importer knows.

`nn.MultiheadAttention` and `nn.TransformerEncoderLayer` in eval mode call one operator for everything. torch.export
takes the path with separate operators, torch.compile does not.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, relu, scaled_dot_product_attention


def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_head: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Tensor, Tensor]:
    """aten._native_multi_head_attention: [batch, length, embed_dim] and the weights, averaged over heads if wanted."""
    weights, biases = qkv_weight.split(embed_dim), qkv_bias.split(embed_dim)
    batch = query.shape[0]
    q, k, v = (
        linear(x, weight, bias).view(batch, -1, num_head, embed_dim // num_head).transpose(1, 2)
        for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
    )
    added = _additive(mask, mask_type, query.dtype)
    scores = q @ k.transpose(-1, -2) * (embed_dim // num_head) ** -0.5
    shares = (scores if added is None else scores + added).softmax(-1)
    # Queries that see no key are NaN here, where scaled_dot_product_attention would have zeros.
    mixed = scaled_dot_product_attention(q, k, v) if added is None else shares @ v
    result = linear(mixed.transpose(1, 2).reshape(batch, -1, embed_dim), proj_weight, proj_bias)
    if not need_weights:
        return result, torch.empty(0)
    return result, shares.mean(1) if average_attn_weights else shares


def _additive(mask: Tensor | None, mask_type: int | None, dtype: torch.dtype) -> Tensor | None:
    """What to add to the scores [batch, heads, queries, keys].

    Masks are true, or negative infinity, where attention must not look. Types: 0 queries x keys, 1 batch x keys, 2 all
    four axes.
    """
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))
    return mask[:, None, None, :] if mask_type == 1 else mask


def transformer_encoder_layer(
    src: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    """aten._transformer_encoder_layer_fwd: [batch, length, embed_dim]."""

    def mixed(x: Tensor) -> Tensor:
        projections = (qkv_weight, qkv_bias, proj_weight, proj_bias)
        return multi_head_attention(
            x, x, x, embed_dim, num_heads, *projections, mask=mask, need_weights=False, mask_type=mask_type
        )[0]

    def fed_forward(x: Tensor) -> Tensor:
        hidden = linear(x, ffn_weight_1, ffn_bias_1)
        return linear(gelu(hidden) if use_gelu else relu(hidden), ffn_weight_2, ffn_bias_2)

    def first(x: Tensor) -> Tensor:
        return layer_norm(x, (embed_dim,), norm_weight_1, norm_bias_1, eps)

    def second(x: Tensor) -> Tensor:
        return layer_norm(x, (embed_dim,), norm_weight_2, norm_bias_2, eps)

    if norm_first:
        src = src + mixed(first(src))
        return src + fed_forward(second(src))
    src = first(src + mixed(src))
    return second(src + fed_forward(src))


FAST_PATHS = {
    torch.ops.aten._native_multi_head_attention.default: multi_head_attention,
    torch.ops.aten._transformer_encoder_layer_fwd.default: transformer_encoder_layer,
}
