"""Attention as anybody may write it, on any machine: modules with inputs, targets and compiler options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

import plena
from plena.machine.target import Target

MACHINES = ((64, 4, 16, 4), (64, 16, 64, 1), (16, 4, 4, 4), (32, 8, 8, 4), (128, 16, 32, 4), (256, 64, 64, 4))
"""MLEN, BLEN, HLEN, broadcast amount."""

FORMATS = ("shipped", "blocks of 16", "blocks of 32", "bf16")
FORMS = ("operator", "written", "einsum", "float32 softmax")
MASKS = (
    "none",
    "causal",
    "causal to the end",
    "window",
    "two-sided window",
    "slopes",
    "boolean",
    "bias per sample",
    "keys",
    "keys hidden",
    "keys and causal",
    "keys as numbers",
    "run-time bias",
    "run-time boolean",
)
PRECISIONS = ("HBM_M_WEIGHT_TYPE", "HBM_M_KV_TYPE", "HBM_V_ACT_TYPE", "HBM_V_KV_TYPE")


@dataclass(frozen=True)
class Case:
    """One attention; `text` of it is enough to make it again."""

    machine: tuple[int, int, int, int] = MACHINES[0]
    number_format: str = "shipped"
    matrix_tiles: int = 64
    m_prefetch: int = 64
    v_prefetch: int = 4
    v_writeback: int = 4
    form: str = "operator"
    mask: str = "none"
    batch: int = 1
    kv_heads: int = 1
    group: int = 1
    head_dim: int = 64
    value_dim: int = 64
    queries: int = 64
    keys: int = 64
    sharpness: float | None = None
    softcap: float | None = None
    sinks: bool = False
    projected: bool = False
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    seed: int = 0

    @property
    def heads(self) -> int:
        """Query heads."""
        return self.kv_heads * self.group

    @property
    def scale(self) -> float:
        """The factor of the scores. Large scores lose their fractions in bf16, whatever computes them."""
        return (self.sharpness or 1.0) * self.head_dim**-0.5

    @property
    def target(self) -> Target:
        """The machine."""
        mlen, blen, hlen, broadcast = self.machine
        target = Target().with_settings(
            {
                "MLEN": mlen,
                "VLEN": mlen,
                "BLEN": blen,
                "HLEN": hlen,
                "BROADCAST_AMOUNT": broadcast,
                "MATRIX_SRAM_SIZE": self.matrix_tiles * mlen,
                "HBM_M_Prefetch_Amount": self.m_prefetch,
                "HBM_V_Prefetch_Amount": self.v_prefetch,
                "HBM_V_Writeback_Amount": self.v_writeback,
            }
        )
        if self.number_format == "bf16":
            plain = {"format": "Plain", "DATA_TYPE": {"type": "Fp", "sign": 1, "exponent": 8, "mantissa": 7}}
            return target.with_settings({f"PRECISION.{name}": plain for name in PRECISIONS[1::2]})
        if self.number_format == "shipped":
            return target
        block = int(self.number_format.split()[-1])
        return target.with_settings({f"PRECISION.{name}.block": block for name in PRECISIONS})

    def inputs(self) -> tuple[Tensor, ...]:
        """Query, key, value and the run-time mask, if any."""
        generator = torch.Generator().manual_seed(self.seed)
        shapes = (
            (self.batch, self.heads, self.queries, self.head_dim),
            (self.batch, self.kv_heads, self.keys, self.head_dim),
            (self.batch, self.kv_heads, self.keys, self.value_dim),
        )
        tensors = [torch.randn(shape, generator=generator) for shape in shapes]
        if self.projected:
            width = 48
            shapes = ((self.batch, self.queries, width), (self.batch, self.keys, width))
            tensors = [torch.randn(shape, generator=generator) for shape in shapes]
        seen = torch.rand(self.batch, self.keys, generator=generator) > 0.4
        seen[:, 0] = True
        if self.mask in ("keys", "keys and causal"):
            tensors.append(seen if self.seed % 2 else seen.long())
        elif self.mask == "keys hidden":
            tensors.append(~seen if self.seed % 2 else (~seen).long())
        elif self.mask == "keys as numbers":
            tensors.append(
                torch.zeros(self.batch, 1, 1, self.keys).masked_fill(~seen[:, None, None], float("-inf"))
            )
        elif self.mask == "run-time bias":
            tensors.append(torch.randn(self.batch, 1, self.queries, self.keys, generator=generator))
        elif self.mask == "run-time boolean":
            allowed = torch.rand(self.queries, self.keys, generator=generator) > 0.4
            allowed[:, 0] = True
            tensors.append(allowed)
        return tuple(tensors)

    def program(self) -> plena.Program:
        """The compiled module."""
        return plena.compile(Attention(self), self.inputs(), target=self.target, **self.options)


class Attention(nn.Module):
    """softmax(cap(scale * q k^T) + mask) v, in the form and with the mask of a case."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        generator = torch.Generator().manual_seed(case.seed + 1)
        self.sinks = nn.Parameter(torch.randn(case.heads, generator=generator))
        self.constant = self._constant(generator)
        if case.projected:
            with torch.random.fork_rng():
                torch.manual_seed(case.seed)
                sizes = (
                    case.heads * case.head_dim,
                    case.kv_heads * case.head_dim,
                    case.kv_heads * case.value_dim,
                )
                self.q, self.k, self.v = (nn.Linear(48, size) for size in sizes)

    def _constant(self, generator: torch.Generator) -> Tensor | None:
        """The part of the mask that is known when compiling."""
        case = self.case
        distance = torch.arange(case.keys)[None, :] - torch.arange(case.queries)[:, None]
        match case.mask:
            case "causal" | "keys and causal":
                return distance <= 0
            case "causal to the end":
                return distance <= max(0, case.keys - case.queries)
            case "window":
                # A query behind the last key's window would see nothing.
                return (distance <= 0) & (distance > -max(5, case.queries - case.keys + 2))
            case "two-sided window":
                return distance.abs() <= max(7, case.queries - case.keys + 1)
            case "slopes":
                return -distance.abs() * torch.linspace(0.05, 0.4, case.heads)[:, None, None]
            case "boolean":
                return (distance % 3 != 1) | (torch.arange(case.keys) == 0)
            case "bias per sample":
                return torch.randn(case.batch, 1, 1, case.keys, generator=generator)
            case _:
                return None

    def _mask(self, given: Tensor | None) -> Tensor | None:
        constant = self.constant
        match self.case.mask:
            case "keys" | "keys and causal":
                assert given is not None
                keys = given[:, None, None, :].bool()
                return keys if constant is None else keys & constant
            case "keys hidden":
                assert given is not None
                return given[:, None, None, :] == 0
            case _:
                return constant if given is None else given

    def forward(self, *inputs: Tensor) -> Tensor:
        case = self.case
        if case.projected:
            x, y, *given = inputs
            q = self.q(x).view(case.batch, case.queries, case.heads, -1).transpose(1, 2)
            k, v = (
                f(y).view(case.batch, case.keys, case.kv_heads, -1).transpose(1, 2) for f in (self.k, self.v)
            )
        else:
            q, k, v, *given = inputs
        mixed = self._mixed(q, k, v, self._mask(given[0] if given else None))
        if case.projected:
            return mixed.transpose(1, 2).reshape(case.batch, case.queries, -1)
        return mixed

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        case = self.case
        if case.form == "operator" and not case.sinks and case.softcap is None:
            return F.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=mask,
                scale=None if case.sharpness is None else case.scale,
                enable_gqa=case.group > 1,
            )
        k, v = (x.repeat_interleave(case.group, 1) for x in (k, v))
        if case.form == "einsum":
            scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * case.scale
        else:
            scores = q @ k.transpose(-1, -2) * case.scale
        if case.softcap is not None:
            scores = torch.tanh(scores / case.softcap) * case.softcap
        if mask is not None and mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        elif mask is not None:
            scores = scores + mask
        if case.sinks:
            sinks = self.sinks.reshape(1, -1, 1, 1).expand(case.batch, -1, case.queries, -1)
            shares = torch.cat([scores, sinks], dim=-1).softmax(-1)[..., :-1]
        elif case.form == "float32 softmax":
            shares = F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        else:
            shares = scores.softmax(-1)
        return torch.einsum("bhqk,bhkd->bhqd", shares, v) if case.form == "einsum" else shares @ v


LENGTHS = (1, 2, 5, 17, 32, 63, 64, 65, 100, 130, 257)
MOST_WORK = 2**21
"""Multiply-accumulates of a drawn case: the emulator's time."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any case that a small machine emulates in well under a second."""
    machine = draw(st.sampled_from(MACHINES))
    mlen, blen, *_ = machine
    sizes = sorted({max(1, mlen // 4), mlen // 2, mlen, mlen + mlen // 8, mlen * 3 // 2, mlen * 2, 24})
    head_dim = draw(st.sampled_from([size for size in sizes if size <= 256]))
    value_dim = head_dim if draw(st.integers(0, 5)) else draw(st.sampled_from(sizes))
    batch, kv_heads, group = (
        draw(st.sampled_from([1, 1, 2, 3])),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 4)),
    )
    queries, keys = draw(st.sampled_from(LENGTHS)), draw(st.sampled_from(LENGTHS))
    mask = draw(st.sampled_from(MASKS))
    if draw(st.booleans()):
        keys = queries
    while batch * kv_heads * group * queries * keys * (head_dim + value_dim) > MOST_WORK and (
        queries,
        keys,
    ) != (1, 1):
        if batch * kv_heads * group > 1:
            batch, kv_heads, group = (max(1, n // 2) for n in (batch, kv_heads, group))
        else:
            queries, keys = max(1, queries // 2), max(1, keys // 2)
    options: dict[str, Any] = {
        "objective": draw(st.sampled_from(["cycles", "size"])),
        "matmul": draw(st.sampled_from(["auto", "auto", "mm", "broadcast", "vector"])),
        "attention": draw(st.sampled_from(["auto", "online", "rows"])),
        "timing": draw(st.sampled_from(["transactional", "transactional", "pipelined"])),
    }
    matrix_tiles = draw(st.sampled_from([4, 6, 16, 64]))
    if matrix_tiles < 64 and options["attention"] == "rows":
        options["attention"] = "auto"  # whole rows need a reduction in matrix SRAM, and would be refused
    # A machine without the unit, or with no room for the tiles that pack its operands, cannot be made to use it.
    if matrix_tiles < 16 or machine[2] * machine[3] != machine[0]:
        options["matmul"] = options["matmul"].replace("broadcast", "auto")
    form = draw(st.sampled_from(FORMS))
    if form == "einsum" and min(queries, keys) == 1:
        form = "written"  # torch.einsum makes other products of it
    formats = [name for name in FORMATS if name != "blocks of 32" or mlen >= 32]
    return Case(
        machine=machine,
        number_format=draw(st.sampled_from(["shipped", *formats])),
        matrix_tiles=matrix_tiles,
        m_prefetch=draw(st.sampled_from([mlen, mlen // 2, 2 * mlen])),
        v_prefetch=draw(st.sampled_from([blen, 1, 4, 2 * blen, 16])),
        v_writeback=draw(st.sampled_from([blen, 1, 4, 2 * blen, 16])),
        form=form,
        mask=mask,
        batch=batch,
        kv_heads=kv_heads,
        group=group,
        head_dim=head_dim,
        value_dim=value_dim,
        queries=queries,
        keys=keys,
        sharpness=draw(st.sampled_from([None, None, 0.1, 0.77, 1.2])),
        softcap=draw(st.sampled_from([None, None, None, 5.0, 30.0])),
        sinks=draw(st.integers(0, 4)) == 0,
        projected=draw(st.integers(0, 2)) == 0,
        options=options,
        seed=draw(st.integers(0, 99)),
    )
