"""The drawings of docs/: SVG from the target's figures, readable on a light and on a dark page.

Lines and text have the colour of the text around them (`currentColor`), areas are translucent. docs/generate.py writes
the files, docs/site_hook.py puts them into the pages of the site.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

from plena.machine.target import Target

TEAL, AMBER, VIOLET, RED, GREY = "#0a9", "#d90", "#86c", "#c44", "#888"

_STYLE = "<style>@media (prefers-color-scheme: dark) { svg { color: #ddd } }</style>"


@dataclass
class Picture:
    """An SVG under construction; x to the right, y downwards, in pixels."""

    width: int
    height: int
    shapes: list[str] = field(default_factory=list[str])

    def rect(
        self, x: float, y: float, width: float, height: float, colour: str = GREY, opacity: float = 0.25
    ) -> None:
        """A filled rectangle with an outline."""
        self.shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2" fill="{colour}" '
            f'fill-opacity="{opacity:g}" stroke="currentColor" stroke-opacity="0.6"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: int = 12,
        anchor: str = "middle",
        code: bool = False,
        bold: bool = False,
    ) -> None:
        """One line of text with its baseline at y."""
        family = ' font-family="monospace"' if code else ""
        weight = ' font-weight="bold"' if bold else ""
        self.shapes.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="currentColor"{family}{weight}>'
            f"{escape(text)}</text>"
        )

    def box(
        self, x: float, y: float, width: float, height: float, lines: Sequence[str], colour: str = GREY
    ) -> None:
        """A rectangle with centred lines of text, the first one bold."""
        self.rect(x, y, width, height, colour)
        top = y + height / 2 - 8 * (len(lines) - 1) + 4
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + 16 * number, line, 13 if number == 0 else 11, bold=number == 0)

    def line(
        self, points: Sequence[tuple[float, float]], colour: str = "currentColor", width: float = 1.2
    ) -> None:
        """A line through points."""
        path = " ".join(f"{x:.4g},{y:.4g}" for x, y in points)
        self.shapes.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'
        )

    def arrow(self, points: Sequence[tuple[float, float]], both: bool = False) -> None:
        """A line with a head at its end, or at both."""
        self.line(points)
        self._head(points[-2], points[-1])
        if both:
            self._head(points[1], points[0])

    def _head(self, before: tuple[float, float], end: tuple[float, float]) -> None:
        dx, dy = end[0] - before[0], end[1] - before[1]
        length = (dx * dx + dy * dy) ** 0.5
        dx, dy = 7 * dx / length, 7 * dy / length
        corners = [
            end,
            (end[0] - dx - dy / 2, end[1] - dy + dx / 2),
            (end[0] - dx + dy / 2, end[1] - dy - dx / 2),
        ]
        path = " ".join(f"{x:.4g},{y:.4g}" for x, y in corners)
        self.shapes.append(f'<polygon points="{path}" fill="currentColor"/>')

    def dot(self, x: float, y: float, colour: str, radius: float = 4) -> None:
        """A filled circle."""
        self.shapes.append(f'<circle cx="{x:.4g}" cy="{y:.4g}" r="{radius:g}" fill="{colour}"/>')

    def svg(self) -> str:
        """The file."""
        body = "\n".join(self.shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'font-family="sans-serif">\n{_STYLE}\n{body}\n</svg>\n'
        )


def machine(target: Target) -> Picture:
    """Memories, engines, and the instructions that move data between them."""
    p = Picture(860, 470)
    tiles = target.matrix_sram_size // target.mlen
    p.box(
        10,
        90,
        120,
        260,
        ["HBM", f"{target.hbm_size >> 30} GiB", "weights, inputs,", "keys, values", "in MX blocks"],
        AMBER,
    )
    p.box(300, 90, 190, 70, ["matrix SRAM", f"{tiles} tiles of {target.mlen} x {target.mlen}"], TEAL)
    p.box(
        300, 280, 190, 70, ["vector SRAM", f"{target.vector_sram_size:,} rows of {target.vlen} lanes"], TEAL
    )
    p.box(300, 390, 90, 60, ["FP SRAM", "1,024 words"], TEAL)
    p.box(400, 390, 90, 60, ["INT SRAM", "1,024 words"], TEAL)
    p.box(
        640,
        90,
        210,
        110,
        [
            "matrix unit",
            f"{target.blen} rows x {target.mlen} terms x {target.blen} columns",
            f"broadcast: {target.broadcast_amount} heads at once",
            "accumulators in f32",
        ],
        VIOLET,
    )
    p.box(
        640,
        250,
        210,
        90,
        [
            "vector unit",
            f"{target.vlen} lanes, one row at a time",
            "add, multiply, max, exp, 1/x",
            "row sum, row maximum",
        ],
        VIOLET,
    )
    p.box(
        640,
        375,
        210,
        75,
        [
            "scalar unit",
            "gp0..gp15 addresses, counters",
            "f0..f7 numbers in bf16",
            "a0..a7 HBM base addresses",
        ],
        VIOLET,
    )
    p.box(
        300, 10, 550, 44, ["sequencer", "one instruction after the other; counted loops, no branches"], GREY
    )
    p.arrow([(130, 125), (300, 125)])
    p.text(215, 117, "H_PREFETCH_M", 11, code=True)
    p.arrow([(130, 300), (300, 300)])
    p.text(215, 292, "H_PREFETCH_V", 11, code=True)
    p.arrow([(300, 335), (130, 335)])
    p.text(215, 327, "H_STORE_V", 11, code=True)
    p.arrow([(490, 125), (640, 125)])
    p.text(565, 117, "M_MM, M_BTMM", 11, code=True)
    p.arrow([(470, 280), (470, 165), (640, 165)])
    p.text(555, 157, "rows", 11)
    p.arrow([(690, 200), (690, 225), (440, 225), (440, 280)])
    p.text(600, 218, "M_MM_WO, M_BMM_WO", 11, code=True)
    p.arrow([(490, 310), (640, 310)], both=True)
    p.text(565, 302, "V_ADD_VV ...", 11, code=True)
    p.arrow([(745, 340), (745, 375)])
    p.text(738, 362, "V_RED_SUM, V_RED_MAX", 11, anchor="end", code=True)
    p.arrow([(345, 390), (345, 350)])
    p.text(338, 376, "S_MAP_V_FP", 11, anchor="end", code=True)
    p.arrow([(490, 425), (640, 425)], both=True)
    p.text(565, 417, "S_LD_FP, S_ST_FP,", 11, code=True)
    p.text(565, 441, "S_LD_INT, S_ST_INT", 11, code=True)
    return p


def product(target: Target) -> Picture:
    """What one M_MM multiplies, and where the next ones go on."""
    p, b = Picture(760, 250), target.blen
    p.text(130, 20, "vector SRAM", bold=True)
    for row in range(b):
        p.rect(20, 40 + 16 * row, 220, 16, TEAL, 0.35)
    p.text(130, 40 + 16 * b + 20, f"{b} rows of {target.mlen} lanes", 11)
    p.text(270, 78, "x", 20)
    p.text(400, 20, "a tile in matrix SRAM", bold=True)
    p.rect(310, 40, 180, 180, GREY, 0.12)
    p.rect(310, 40, 22, 180, AMBER, 0.5)
    p.rect(332, 40, 22, 180, AMBER, 0.2)
    p.text(421, 130, f"{target.mlen} x {target.mlen}", 11)
    p.text(
        310, 240, f"{b} columns, next {b}, ...: the address steps by {b * target.mlen}", 11, anchor="start"
    )
    p.text(525, 78, "=", 20)
    p.text(640, 20, "accumulator", bold=True)
    p.rect(600, 45, 64, 64, VIOLET, 0.4)
    p.text(632, 82, f"{b} x {b}", 12)
    p.text(632, 130, "f32; M_MM_WO rounds", 11)
    p.text(632, 146, "to bf16, writes, clears", 11)
    return p


def broadcast(target: Target) -> Picture:
    """How M_BTMM packs heads into a row and what it multiplies."""
    p = Picture(860, 255)
    heads, lanes = target.broadcast_amount, target.hlen
    colours = (TEAL, AMBER, VIOLET, RED)
    p.text(150, 20, f"queries: {target.mlen} rows in vector SRAM", bold=True)
    width = 260 / heads
    for head in range(heads):
        p.rect(20 + head * width, 40, width, 170, colours[head % 4], 0.4)
        p.text(20 + (head + 0.5) * width, 120, f"head {head}", 11)
    p.text(150, 230, f"{heads} heads of HLEN = {lanes} lanes side by side", 11)
    p.text(305, 130, "x", 20)
    p.text(430, 20, "one key tile in matrix SRAM", bold=True)
    p.rect(335, 40, 190, 170, GREY, 0.12)
    p.rect(335, 40, 190 / heads, 170, GREY, 0.5)
    p.text(430, 230, f"{lanes} columns, for all heads the same", 11)
    p.text(430, 246, "(transposed by the unit)", 11)
    p.text(550, 130, "=", 20)
    p.text(710, 20, "scores, one accumulator per head", bold=True)
    for head in range(heads):
        x, y = 580 + 70 * (head % 2) * 2, 40 + 88 * (head // 2)
        p.rect(x, y, 120, 80, colours[head % 4], 0.4)
        p.text(x + 60, y + 36, f"head {head}", 11)
        p.text(x + 60, y + 54, f"{target.mlen} x {target.mlen}, times 1/4", 11)
    return p


def column_blocks(target: Target) -> Picture:
    """A matrix in vector SRAM: column blocks one after the other."""
    p, lanes = Picture(800, 290), target.vlen
    rows, blocks, colours = 8, 3, (TEAL, AMBER, VIOLET)
    p.text(150, 20, f"a matrix [{rows}, {blocks * lanes}]", bold=True)
    for block in range(blocks):
        for row in range(rows):
            p.rect(20 + 90 * block, 35 + 16 * row, 90, 16, colours[block], 0.15 + 0.035 * row)
        p.text(
            65 + 90 * block, 35 + 16 * rows + 18, f"columns {block * lanes}..{(block + 1) * lanes - 1}", 10
        )
    p.arrow([(310, 100), (360, 100)])
    p.text(590, 20, "in vector SRAM, row by row of the memory", bold=True)
    for block in range(blocks):
        for row in range(rows):
            y = 35 + 10 * (block * rows + row)
            p.rect(430, y, 180, 10, colours[block], 0.15 + 0.035 * row)
        y = 35 + 10 * block * rows
        p.text(422, y + 9, f"{block * rows * lanes}", 10, anchor="end", code=True)
        p.text(620, y + 9, f"row 0 of block {block}", 10, anchor="start")
        p.text(620, y + 19, f"row 1 of block {block}: + {lanes}", 10, anchor="start")
    p.text(422, 24, "address", 10, anchor="end")
    return p


def mx(target: Target) -> Picture:
    """Element bytes and scale bytes of an MX tensor."""
    p, block = Picture(800, 210), 8
    p.text(
        20, 20, "elements: one byte each (sign, 4 bits of exponent, 3 of mantissa)", anchor="start", bold=True
    )
    for group in range(3):
        for element in range(block):
            p.rect(20 + 190 * group + 22 * element, 32, 22, 22, (TEAL, AMBER, VIOLET)[group], 0.35)
        p.text(20 + 190 * group + 11 * block, 70, f"block of {block}", 11)
    p.text(610, 48, "...", 14)
    p.text(130, 148, "scales: one byte per block, a power of two", anchor="start", bold=True)
    for group in range(3):
        p.rect(20 + 22 * group, 132, 22, 22, (TEAL, AMBER, VIOLET)[group], 0.7)
        p.line([(20 + 190 * group + 11 * block, 76), (31 + 22 * group, 130)], GREY)
    p.text(100, 148, "...", 14)
    p.text(
        20,
        180,
        "value = element x scale. The scales of a tensor are a plane of their own: SCALE says how many bytes",
        12,
        anchor="start",
    )
    p.text(
        20,
        198,
        "behind the first element the first scale lies, so a row of 64 is 64 bytes there and 8 bytes here.",
        12,
        anchor="start",
    )
    return p


def hardware_loop(target: Target) -> Picture:
    """A counted loop with a running pointer, and its registers in every iteration."""
    p = Picture(760, 230)
    code = (
        "S_ADDI_INT gp2, gp0, 256",
        "C_LOOP_START gp1, 3",
        "  V_EXP_V gp2, gp2, 0",
        "  S_ADDI_INT gp2, gp2, 64",
        "C_LOOP_END gp1",
    )
    for number, line in enumerate(code):
        if line.startswith("  "):
            p.rect(20, 27 + 26 * number, 250, 26, TEAL, 0.2)
        p.text(30, 45 + 26 * number, line.replace("  ", "\u00a0\u00a0"), 13, anchor="start", code=True)
    p.arrow([(270, 145), (300, 145), (300, 92), (274, 92)])
    p.text(308, 123, "gp1 > 1", 11, anchor="start")
    rows = (
        ("iteration", "gp1", "gp2", "row"),
        ("1", "3", "256", "4"),
        ("2", "2", "320", "5"),
        ("3", "1", "384", "6"),
        ("after", "0", "448", ""),
    )
    for number, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            p.text(430 + 80 * column, 45 + 26 * number, cell, 12, bold=number == 0, code=number > 0)
    p.text(
        20,
        190,
        "The count is part of the instruction, the body runs at least once, loops nest, and each open loop needs a",
        12,
        anchor="start",
    )
    p.text(
        20,
        208,
        "register. Every turn costs one C_LOOP_END, every address that advances one S_ADDI_INT.",
        12,
        anchor="start",
    )
    return p


PICTURES: dict[str, Callable[[Target], Picture]] = {
    "machine": machine,
    "product": product,
    "broadcast": broadcast,
    "column_blocks": column_blocks,
    "mx": mx,
    "hardware_loop": hardware_loop,
}
"""File name in docs/assets without .svg -> what draws it."""
