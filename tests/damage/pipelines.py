"""Pass pipelines of any passes with any options: names that exist, values that may not make sense."""

from __future__ import annotations

import random
from dataclasses import fields

from plena.universe import PASSES, load_pass

VALUES = (
    "0", "1", "2", "3", "-1", "7", "100", "99999999999", "0,0", "0,1", "1,0", "2,1,0", "true", "false", "1.5",
    '"cycles"', '"size"', '"pipelined"', '"x"', '""', '"int:0-16=0..31"', '"int:0-16=5"', "cycles", "nan", "{}",
)  # fmt: skip

EARLIER = ("", "", "", "lift,", "tile,", "tile,affine,", "affine,", "canonicalize-loops,", "roll-loops,")


def _item(chance: random.Random) -> str:
    name = chance.choice(tuple(PASSES))
    names = [field.name.replace("_", "-") for field in fields(load_pass(name))]
    chosen = [n for n in names if chance.random() < 0.5]
    if chance.random() < 0.05:
        chosen.append("nothing")
    options = " ".join(n if chance.random() < 0.1 else f"{n}={chance.choice(VALUES)}" for n in chosen)
    return f"{name}{{{options}}}" if options else name


def pipeline(chance: random.Random) -> str:
    """One to three passes, sometimes behind those that make their input."""
    return chance.choice(EARLIER) + ",".join(_item(chance) for _ in range(chance.randrange(1, 4)))
