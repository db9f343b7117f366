"""Damaged texts and bytes: what a slip of the hand, a broken transfer or a wrong file makes of a good one."""

from __future__ import annotations

from hypothesis import strategies as st

TOKENS = (
    "gp1", "gp16", "gp-1", "f1", "f9", "a0", "a9", "0", "-1", "1", "262144", "4294967296", "99999999999999999999",
    "0x10", "1e9", "nan", ",", ",,", ";", "#", ":", "=", "[", "]", "{", "}", "(", "\"", "'", "\\", "\t", "\r", "\0",
    "\ufeff", "é", "\u2028", "S_ADDI_INT", "C_LOOP_START gp1, 0", "C_LOOP_END gp1", "C_BREAK", "V_EXP_V", "null",
    "true", "-", "--", "...", "%", "@", "!", "^", "<", ">", "->", "i32", "0x", "0xfffffffff",
)  # fmt: skip


@st.composite
def damaged_text(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """A text with a few tokens put in, taken out, exchanged or repeated, or cut off."""
    text = draw(texts)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.sampled_from([0, 0, 1, 1, 2, 5, 20])))
        match draw(st.integers(0, 4)):
            case 0:
                text = text[:start] + draw(st.sampled_from(TOKENS)) + text[stop:]
            case 1:
                text = text[:start] + text[stop:]
            case 2:
                text = text[:start]
            case 3:
                text = text[:stop] + text[start:]
            case _:
                words = text.split(" ")
                place = draw(st.integers(0, len(words) - 1))
                words[place] = draw(st.sampled_from((*TOKENS, *words)))
                text = " ".join(words)
    return text


@st.composite
def damaged_bytes(draw: st.DrawFn, contents: bytes) -> bytes:
    """Bytes cut off, changed, put in."""
    start = draw(st.integers(0, len(contents)))
    stop = min(len(contents), start + draw(st.sampled_from([0, 1, 4, 64])))
    return draw(
        st.sampled_from(
            [
                contents[:start],
                contents[:start] + b"\xff\x00" + contents[stop:],
                contents[:start] + contents[stop:],
                contents + contents[start:],
                b"",
            ]
        )
    )
