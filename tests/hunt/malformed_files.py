"""`python -m tests.hunt.malformed_files --count 50000`: damaged inputs; prints each kind of bare exception once.

A bare exception is one that a user cannot act on: from Python anything but a `PlenaError`, from `plena-opt` an
"internal error", and reading that takes for ever. What is damaged: assembly text, machine words, IR text, pass
pipelines with their options, settings files and program folders. The inputs are slips of the hand on good ones, from
equal seeds equal ones; programs that would run long are stopped after some instructions. Its finds are tests in
tests/damage/test_found.py.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plena
from plena.assembly import encode, parse_asm, parse_mem, print_mem
from plena.errors import PlenaError
from tests.damage.mistakes import damaged, wrong_value
from tests.damage.pipelines import pipeline

TESTS = Path(__file__).parents[1]
SMALL = {
    "MLEN": 8, "VLEN": 8, "BLEN": 2, "HLEN": 2, "BROADCAST_AMOUNT": 4, "MATRIX_SRAM_SIZE": 64,
    "VECTOR_SRAM_SIZE": 512, "HBM_SIZE": 65536, "HBM_M_Prefetch_Amount": 8,
}  # fmt: skip
SHORT = 3000
"""Characters of a source that is damaged."""

LONG = 100_000
"""Instructions after which a run is stopped."""


SLOW = 30
"""Seconds after which reading an input counts as a bare exception."""


class TooSlow(Exception):
    """Reading a small input takes for ever."""


class TooLong(Exception):
    """A program that runs on and on is none of the errors looked for."""


@dataclass(frozen=True)
class Attempt:
    """One input: its kind, what shows it, and the call that reads it."""

    kind: str
    shown: str
    read: Callable[[], Any]


class Makers:
    """Makes inputs of every kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = plena.Target().with_settings(SMALL)
        self.programs = [
            p.read_text() for p in sorted((TESTS / "corpus").glob("*.asm")) if p.stat().st_size < SHORT
        ]
        modules = [p.read_text() for p in sorted((TESTS / "filecheck").rglob("*.mlir"))]
        self.modules = [m for m in modules if len(m) < SHORT]
        self.settings = (TESTS / "conformance" / "plena_settings.toml").read_text()
        self.saved = folder / "saved"
        self._save()
        self.readers: dict[str, Callable[[Any], Any]] = {
            "stats": lambda x: plena.stats(x, self.target),
            "lift": lambda x: plena.lift(x, self.target),
            "verify": lambda x: plena.verify(x, self.target),
            "emulate": lambda x: plena.emulate(x, target=self.target, progress=_stop),
            "optimize": lambda x: plena.optimize(x, target=self.target),
        }
        self.kinds: tuple[tuple[int, Callable[[random.Random], Attempt]], ...] = (
            (38, self.assembly), (14, self.words), (16, self.module), (16, self.passes), (8, self.toml),
            (8, self.program_folder),
        )  # fmt: skip

    def _save(self) -> None:
        from tests.program_samples import linear_program, weights

        linear_program(weights()).save(self.saved)

    def one(self, chance: random.Random) -> Attempt:
        """Some input of some kind."""
        shares, makers = zip(*self.kinds, strict=True)
        return chance.choices(makers, shares)[0](chance)

    def assembly(self, chance: random.Random) -> Attempt:
        """Damaged text, read by one of the functions."""
        text = damaged(chance.choice(self.programs), chance)
        reader = self._reader(chance)
        return Attempt(f"assembly, {reader}", text, lambda: self.readers[reader](text))

    def words(self, chance: random.Random) -> Attempt:
        """Damaged word files, or words with bits turned."""
        words = encode(parse_asm(chance.choice(self.programs))).tolist()
        reader = self._reader(chance)
        if chance.random() < 0.3:
            text = damaged(print_mem(words), chance)
            return Attempt(f"words, {reader}", text, lambda: self.readers[reader](parse_mem(text)))
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(words))
            words[place] = chance.choice((words[place] ^ 1 << chance.randrange(32), chance.getrandbits(32)))
        return Attempt(f"words, {reader}", str(words), lambda: self.readers[reader](words))

    def _reader(self, chance: random.Random) -> str:
        return chance.choices(tuple(self.readers), (30, 20, 25, 20, 5))[0]

    def module(self, chance: random.Random) -> Attempt:
        """Damaged IR through a pipeline that is right."""
        text = damaged(chance.choice(self.modules), chance)
        passes = chance.choice(
            ("", "", "canonicalize-loops", "tile,affine,register", "affine,register", "register", "lift",
             "roll-loops", "verify-program", "allocate-buffers", "select-loops", "fuse-attention", "tensor")
        )  # fmt: skip
        return self._opt("ir", "x.mlir", text, passes, chance)

    def passes(self, chance: random.Random) -> Attempt:
        """IR or assembly that is right through a pipeline with options of any kind."""
        if chance.random() < 0.4:
            return self._opt(
                "options", "x.asm", chance.choice(self.programs), "lift," + pipeline(chance), chance
            )
        return self._opt("options", "x.mlir", chance.choice(self.modules), pipeline(chance), chance)

    def _opt(self, kind: str, name: str, text: str, passes: str, chance: random.Random) -> Attempt:
        args = [str(self.folder / name), "-o", str(self.folder / "y.mlir"), "-p", passes]
        args += [f"--set={key}={value}" for key, value in SMALL.items()] if chance.random() < 0.3 else []

        def read() -> None:
            from xdsl.utils.exceptions import ArgSpecParseError

            from plena.cli.plena_opt import PlenaOpt, message_of

            (self.folder / name).write_text(text, encoding="utf-8", newline="")
            try:
                PlenaOpt(args).run()
            except (Exception, ArgSpecParseError) as error:
                if message_of(error).startswith("internal error"):
                    raise
                raise PlenaError(message_of(error)) from None

        return Attempt(kind, f"plena-opt {name} -p '{passes}' {' '.join(args[5:])}\n{text}", read)

    def toml(self, chance: random.Random) -> Attempt:
        """A damaged settings file, or one with values of the wrong kind."""
        text = self.settings
        if chance.random() < 0.5:
            lines = text.splitlines()
            valued = [i for i, line in enumerate(lines) if "=" in line]
            for place in chance.sample(valued, 2):
                name = lines[place].split("=")[0]
                lines[place] = f"{name}= {json.dumps(wrong_value(chance))}"
            text = "\n".join(lines)
        else:
            text = damaged(text, chance)

        def read() -> None:
            (self.folder / "x.toml").write_text(text, encoding="utf-8", newline="")
            target = plena.Target.from_toml(self.folder / "x.toml")
            target.validate()
            if target.mlen <= 128 and target.vector_sram_size <= 1 << 22 and target.hbm_size <= 1 << 35:
                plena.stats(self.programs[0], target)
                plena.verify(self.programs[0], target)

        return Attempt("settings", text, read)

    def program_folder(self, chance: random.Random) -> Attempt:
        """A folder with a wrong manifest or a damaged file whose checksum agrees."""
        from plena.program.folder import checksum

        folder = self.folder / "folder"
        manifest = json.loads((self.saved / "manifest.json").read_text())
        name = chance.choice(sorted(manifest["files"]))
        contents = (self.saved / name).read_bytes()
        shown = f"{name} damaged"
        if is_manifest := chance.random() < 0.6:
            inside, key = chance.choice(_places(manifest))
            value = wrong_value(chance)
            shown = f"{key!r} of {str(inside)[:200]} is {value!r}"
            inside[key] = value
        else:
            cut = chance.randrange(len(contents) + 1)
            contents = contents[:cut] + chance.choice((b"", b"\xff\x00", b"gp1", contents[cut:][5:]))

        def read() -> None:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.saved, folder)
            if not is_manifest:
                (folder / name).write_bytes(contents)
                facts = {"bytes": len(contents), "crc32": checksum(folder / name)}
                manifest["files"][name] = facts
            (folder / "manifest.json").write_text(json.dumps(manifest))
            program = plena.Program.load(folder)
            program.stats()
            plena.verify(program.words, program.target)
            if program.hbm_size <= 1 << 24:
                program.run_saved()

        return Attempt("folder", shown, read)


def _places(document: Any) -> list[tuple[Any, Any]]:
    """What holds every value of plain data, and its key there."""
    items = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    return [place for key, value in items for place in ((document, key), *_places(value))]


def _stop(executed: int, cycles: int) -> None:
    if executed > LONG:
        raise TooLong


@dataclass
class Malformed:
    """What was tried, and the bare exceptions by where they were raised."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    found: Counter[str] = field(default_factory=Counter[str])

    def attempt(self, attempt: Attempt) -> None:
        """One input."""
        signal.signal(signal.SIGALRM, _too_slow)
        signal.alarm(SLOW)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                attempt.read()
            self.outcomes[f"{attempt.kind}: read"] += 1
        except PlenaError:
            self.outcomes[f"{attempt.kind}: refused"] += 1
        except TooLong:
            self.outcomes[f"{attempt.kind}: too long"] += 1
        except (Exception, SystemExit) as error:
            name = signature(error)
            if not self.found[name]:
                print(f"{'#' * 100}\n# {name}\n# {attempt.kind}\n{attempt.shown}", flush=True)
                traceback.print_exception(error, limit=-4, file=sys.stdout)
            self.found[name] += 1
        finally:
            signal.alarm(0)


def _too_slow(*_: object) -> None:
    raise TooSlow


def signature(error: BaseException) -> str:
    """A bare exception's name: its type and where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = next((f for f in reversed(frames) if "/plena/" in f.filename), frames[-1])
    return f"{type(error).__name__} at {own.filename.rpartition('/')[2]}:{own.name}"


def run(count: int, seed: int, show: Callable[[str], None] = lambda line: None) -> Malformed:
    """Tries inputs; number n of a seed is always the same."""
    malformed, last = Malformed(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        makers = Makers(Path(folder))
        for number in range(count):
            malformed.attempt(makers.one(random.Random(f"{seed}/{number}")))
            if time.monotonic() - last > 60:
                last = time.monotonic()
                show(f"{number + 1:,} inputs, {sum(malformed.found.values())} bare exceptions")
    return malformed


def main() -> int:
    """The exit code is 1 if there was a bare exception."""
    parser = argparse.ArgumentParser(prog="python -m tests.hunt.malformed_files", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="inputs (default 10000)")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds try equal inputs (default 0)")
    args = parser.parse_args()
    malformed = run(args.count, args.seed, lambda line: print(line, file=sys.stderr, flush=True))
    for outcome, count in sorted(malformed.outcomes.items()):
        print(f"{count:8,}  {outcome}")
    for name, count in malformed.found.most_common():
        print(f"{count:8,}  BARE {name}")
    print(f"{args.count:,} inputs, {sum(malformed.found.values())} bare exceptions")
    return 1 if malformed.found else 0


if __name__ == "__main__":
    sys.exit(main())
