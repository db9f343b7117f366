"""The rows of the benchmark's table: guarded programs, the public compiler's counterparts, what is asked of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.budgets.groups import recorded

DATA = Path(__file__).parent / "data"
PUBLIC: dict[str, Any] = json.loads((DATA / "public_compiler.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Published:
    """Figures of the public compiler; None where it published none."""

    version: str
    static: int | None = None
    dynamic: int | None = None
    transactional: int | None = None
    pipelined: int | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        work: what is computed.
        options: how ours was asked for it.
        group, case: the budget file and the name in it.
        published: the public compiler's figures.
        bars: largest counts that the issues allow, by count.
        macs, least_utilization: useful multiply-accumulates, and the least utilisation under the pipelined profile.
        note: what differs.
    """

    work: str
    options: str
    group: str
    case: str
    published: Published | None = None
    bars: Mapping[str, int] = field(default_factory=dict[str, int])
    macs: int | None = None
    least_utilization: float | None = None
    note: str = ""


def attention_of(case: str, mask: str = "bidirectional") -> Published:
    entry = next(e for e in PUBLIC["attention"] if e["case"] == case)[mask]
    return Published("B", entry["static"], entry["dynamic"], entry["cycles"])


def operator_of(case: str) -> Published:
    entry = next(e for e in PUBLIC["operators"] if e["case"] == case)
    return Published(entry.get("version", "B"), entry["static"], entry["dynamic"], entry["cycles"])


def model_of(case: str, version: str) -> Published:
    entry = next(e for e in PUBLIC["models"] if (e["case"], e["version"]) == (case, version))
    pipelined = [e["cycles"] for e in PUBLIC["pipelined"] if (e["case"], e["version"]) == (case, version)]
    return Published(
        version, entry["static"], entry["dynamic"], entry["cycles"], pipelined[0] if pipelined else None
    )


def setting_of(mlen: int, blen: int) -> Published:
    figures = PUBLIC["other_settings"]["figures"]
    entry = next(e for e in figures if (e["MLEN"], e["BLEN"]) == (mlen, blen))
    return Published("B", entry["static"], None, entry["cycles"])


ROWS_OF = "M_MM, rows"
AUTO = "default"


def attention_rows() -> Iterator[Row]:
    """One head unless said otherwise."""
    bars: dict[str, dict[str, int]] = {
        "attention 64x64, rows": {"static": 48, "dynamic": 3600, "transactional": 36_500},
        "attention 64x64": {"static": 55, "transactional": 2300},
        "attention 64x128, rows": {"static": 85},
        "attention 256x64": {"transactional": 18_000},
        "attention 256x64, causal": {"transactional": 298_852},
        "attention 4 heads on 1 of 64x16": {"static": 110},
    }
    for sequence, head_dim in ((64, 64), (64, 128), (128, 64), (256, 64), (256, 128)):
        shape, name = f"{sequence}, {head_dim}", f"attention {sequence}x{head_dim}"
        variants = (
            ("", AUTO, "bidirectional"),
            (", rows", ROWS_OF, "bidirectional"),
            (", causal", AUTO, "causal"),
        )
        for suffix, options, mask in variants:
            yield Row(
                f"attention {sequence} x {head_dim}{', causal' if mask == 'causal' else ''}",
                options,
                "kernels",
                name + suffix,
                attention_of(shape, mask),
                bars.get(name + suffix, {}),
            )
    yield Row(
        "attention 64 x 64",
        "M_MM, online",
        "kernels",
        "attention 64x64, online",
        attention_of("64, 64"),
        {"static": 90},
    )
    yield Row(
        "attention 64 x 64",
        "M_MM, budget 1,000",
        "kernels",
        "attention 64x64, mm, 1000 instructions",
        attention_of("64, 64"),
        {"static": 1000, "dynamic": 2000, "transactional": 34_900},
    )
    one_head = {"static": 60}
    yield Row(
        "attention 64 x 64, six heads", ROWS_OF, "kernels", "attention 6 heads of 64x64, rows", None, one_head
    )
    for suffix, mask in (("", "bidirectional"), (", causal", "causal")):
        name = "attention 4 heads on 1 of 64x16" + suffix
        published = attention_of("64, GQA 4 query / 1 key head of 16", mask)
        work = "attention of 4 query heads on 1 key head, 64 x 16" + suffix
        yield Row(work, AUTO, "kernels", name, published, bars.get(name, {}))


def operator_rows() -> Iterator[Row]:
    """The public compiler finds operands in vector SRAM where ours loads them from HBM."""
    for work, shape in (
        ("linear 64 x 384 -> 384", "64x384 to 384"),
        ("linear 64 x 576 -> 1,536", "64x576 to 1536"),
        ("linear 64 x 2,048 -> 2,048", "64x2048 to 2048"),
    ):
        published = operator_of("linear " + shape.replace("to", "->"))
        yield Row(work, AUTO, "operators", f"linear {shape}", published)
        yield Row(work, "M_MM", "operators", f"linear {shape}, mm", published)
    work, macs = "linear 64 x 384 -> 1,408", 64 * 384 * 1408
    published = Published("-", transactional=2_400_000)
    bars = {"static": 40, "transactional": 37_500}
    yield Row(work, AUTO, "kernels", "linear 64x384 to 1408", published, {"transactional": 37_500})
    yield Row(work, "broadcast", "kernels", "linear 64x384 to 1408, broadcast", published, bars)
    yield Row(work, "M_MM", "kernels", "linear 64x384 to 1408, mm", published)
    yield Row(
        "linear 256 x 384 -> 1,408",
        "pipelined",
        "kernels",
        "linear 256x384 to 1408, pipelined",
        macs=4 * macs,
        least_utilization=0.93,
    )
    for rows, most, cycles in ((1, 75, 3_300), (4, 75, 3_400), (16, 120, 10_500), (64, 120, 40_000)):
        yield Row(
            f"linear {rows} x 576 -> 1,536",
            f"budget {most}",
            "kernels",
            f"linear {rows}x576 to 1536, {most} instructions",
            bars={"static": most, "transactional": cycles},
        )
    for features, most, least in ((384, 80, 0.86), (384, 200, 0.88), (1408, 120, 0.87)):
        yield Row(
            f"linear 64 x {features:,} -> 1,408",
            f"pipelined, budget {most}",
            "kernels",
            f"linear 64x{features} to 1408, pipelined, {most} instructions",
            bars={"static": most},
            macs=64 * features * 1408,
            least_utilization=least,
        )
    yield Row(
        "lm_head 64 x 384 -> 49,152",
        AUTO,
        "operators",
        "linear 64x384 to 49152",
        operator_of("lm_head 64x384 -> 49,152 (as linear)"),
    )
    swiglu = "SwiGLU feed-forward 64x384x1408"
    yield Row(
        "SwiGLU feed-forward 64 x 384 x 1,408",
        AUTO,
        "operators",
        "SwiGLU 64x384x1408",
        operator_of(swiglu + ", version A"),
        note="public: SiLU on the wrong projection",
    )
    yield Row(
        "SwiGLU feed-forward 64 x 384 x 1,408",
        AUTO,
        "operators",
        "SwiGLU 64x384x1408",
        operator_of(swiglu),
        note="public: SiLU on the wrong projection",
    )
    yield Row(
        "RMSNorm 64 x 384",
        AUTO,
        "operators",
        "RMSNorm 64x384",
        operator_of("RMSNorm 64x384"),
        note="ours with gains, which the public one leaves out",
    )
    yield Row(
        "RMSNorm 64 x 384, no gain",
        AUTO,
        "operators",
        "RMSNorm 64x384, no gain",
        operator_of("RMSNorm 64x384"),
    )
    bars = {"static": 60, "transactional": 6500}
    published = operator_of("LayerNorm 64x384")
    norm = "LayerNorm 64 x 384"
    yield Row(f"{norm}, no gain", AUTO, "encoders", "LayerNorm 64x384", published, bars)
    affine = "LayerNorm 64x384 with gain and bias"
    yield Row(norm, AUTO, "encoders", affine, published, bars, note="ours with gains and biases")
    yield Row(norm, "size", "encoders", f"{affine}, size", published, note="ours with gains and biases")
    yield Row("softmax 64 x 64", AUTO, "operators", "softmax 64x64", operator_of("softmax 64x64"))
    yield Row(
        "rotary 64 x 64, rotation given",
        AUTO,
        "operators",
        "rotary 64x64, rotation given",
        operator_of("rotary 64x64 (rotation given)"),
        note="ours loads four operands from HBM",
    )
    yield Row(
        "embedding add 64 x 384",
        AUTO,
        "operators",
        "embedding add 64x384",
        operator_of("embedding add 64x384"),
        note="ours loads two operands from HBM",
    )
    patches = "patch convolution 16x16 of 128x128 to 768"
    yield Row(
        "patch convolution 16 x 16 of 128 x 128 to 768", AUTO, "operators", patches, operator_of(patches)
    )
    yield Row(
        "one of routed experts 64 x 128 x 128",
        AUTO,
        "operators",
        "expert 64x128x128",
        operator_of("routed experts: expert 64x128x128"),
        note="ours with its biases and the weights of its tokens",
    )


def model_rows() -> Iterator[Row]:
    """Decoder layers with the final norm, a vision layer, other machines."""
    clm = "CLM-60M layer, sequence 64"
    a, parent = model_of("CLM-60M layer 0", "A"), model_of("CLM-60M layer 0", "parent")
    default = {"static": 700, "dynamic": 50_000, "transactional": 190_000}
    yield Row(clm, AUTO, "decoders", clm, a, default)
    yield Row(clm, AUTO, "decoders", clm, model_of("CLM-60M layer 0", "B"), default)
    yield Row(clm, AUTO, "decoders", clm, parent, default)
    yield Row(
        clm,
        AUTO,
        "decoders",
        clm,
        model_of("CLM-60M layer 0, all unrolled", "A"),
        default,
        note="public: unrolled",
    )
    alone = "CLM-60M layer alone, sequence 64"
    yield Row(alone, "size", "decoders", f"{alone}, size", a, {"static": 400}, note="no final norm")
    yield Row(clm, "size", "decoders", f"{clm}, size", a, {"static": 400}, note="ours with the final norm")
    bars = {"pipelined": 670_000, "static": 1000}
    yield Row(clm, "pipelined", "decoders", f"{clm}, pipelined", a, bars)
    bars = {"pipelined": 745_000, "dynamic": 370_000, "static": 2500}
    yield Row(clm, "pipelined, budget 2,500", "decoders", f"{clm}, pipelined, 2500 instructions", a, bars)
    for sequence, limits in ((128, {}), (256, {"transactional": 360_000})):
        name = f"CLM-60M layer, sequence {sequence}"
        yield Row(
            name, AUTO, "decoders", name, model_of(f"CLM-60M layer 0, sequence {sequence}", "A"), limits
        )
    name = "CLM-60M layer, sequence 256"
    published = model_of("CLM-60M layer 0, sequence 256", "A")
    yield Row(name, "pipelined", "decoders", f"{name}, pipelined", published, {"pipelined": 2_950_000})
    name = "CLM-60M layer, sequence 1024"
    yield Row(name, AUTO, "decoders", name)
    name = "CLM-60M layer, batch 2"
    yield Row(name, AUTO, "decoders", name, model_of("CLM-60M layer 0, batch 2", "B"))
    for version in ("A", "B"):
        name = "CLM-60M 8 layers, sequence 64"
        yield Row(name, AUTO, "decoders", name, model_of("CLM-60M 8 layers", version))
    name = "SmolLM2-135M layer, sequence 64"
    yield Row(name, AUTO, "decoders", name, model_of("SmolLM2-135M layer 0", "A"))
    for version in ("A", "B"):
        name = "SmolLM2-135M 30 layers, sequence 64"
        yield Row(name, AUTO, "decoders", name, model_of("SmolLM2-135M 30 layers", version), {"static": 1500})
    name = "SmolLM2-135M, 37 tokens, last logits"
    yield Row(name, AUTO, "decoders", name, bars={"static": 900, "transactional": 5_000_000})
    name = "SmolLM2-135M, decode step, 128 keys"
    yield Row(name, AUTO, "decoders", name, bars={"static": 900, "transactional": 500_000})
    name = "SmolLM2-135M, decode step, 4096 keys"
    yield Row(name, AUTO, "decoders", name, bars={"static": 924})
    name = "SmolLM2-135M, decode step of 4 sequences, 128 keys"
    yield Row(name, AUTO, "decoders", name, bars={"transactional": 700_000})
    for version in ("A", "B"):
        name = "Llama-3.2-1B layer, sequence 64"
        yield Row(name, AUTO, "decoders", name, model_of("Llama-3.2-1B layer 0", version), {"static": 1000})
    name = "LLaDA-8B layer, sequence 64"
    yield Row(name, AUTO, "decoders", name, model_of("LLaDA-8B layer 0", "B"))
    vision = "SmolVLM2 vision layer, 64 patches"
    yield Row(
        vision,
        AUTO,
        "encoders",
        f"{vision} of 16x16",
        model_of(vision, "B"),
        {"static": 4000},
        note="ours with the patch embedding",
    )
    for name in ("ViT-B layer, 196 patches of 16x16", "SigLIP So400m layer, 64 patches of 14x14"):
        yield Row(name, AUTO, "encoders", name)
    name = "MiniLM layer, sequence 64"
    yield Row(name, AUTO, "encoders", name, None, {"static": 800, "transactional": 220_000})
    macs = 64 * (4 * 384 * 384 + 2 * 384 * 1536) + 2 * 64 * 64 * 384
    pipelined = f"{name}, pipelined"
    yield Row(name, "pipelined", "encoders", pipelined, macs=macs, least_utilization=0.58)
    for mlen, blen in ((16, 4), (32, 4), (64, 16), (128, 4), (256, 64)):
        name = f"CLM-60M layer, MLEN {mlen} BLEN {blen}"
        yield Row(name, AUTO, "decoders", name, setting_of(mlen, blen))


_COMPARED: dict[str, tuple[Row, ...]] = {
    "Attention": tuple(attention_rows()),
    "Operators": tuple(operator_rows()),
    "Layers and models": tuple(model_rows()),
}


def other_rows() -> Iterator[Row]:
    """Guarded programs that the public compiler has no counterpart of."""
    shown = {(row.group, row.case) for rows in _COMPARED.values() for row in rows}
    for group in ("kernels", "operators", "encoders", "decoders"):
        for case in recorded(group):
            if (group, case) not in shown:
                yield Row(case, "as named", group, case)


SECTIONS: dict[str, tuple[Row, ...]] = {**_COMPARED, "Without a counterpart": tuple(other_rows())}
