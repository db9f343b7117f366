"""`plena explore`: a search over machines, formats and schedules."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plena.cli.commands.command import Command
from plena.cli.commands.shown_tables import print_table, table_of
from plena.cli.commands.sources import (
    MODEL_HELP,
    SAMPLES_HELP,
    add_compile_options,
    calibration_of,
    read_samples,
)
from plena.cli.settings import AUTO, setting, target_of
from plena.errors import PlenaError
from plena.passes.options import OPTIONS

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from plena.exploring.constraints import Constraint
    from plena.exploring.study import Study

LONGEST = 40
"""Points of the front that are printed."""

PROBLEMS = 5
"""Problems that are printed where no point has a program."""


def arguments(parser: ArgumentParser) -> None:
    """The model, the space, the objectives, how long and where, what to write."""
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("--space", metavar="FILE.toml", type=Path, help="what to search: docs/explore.md")
    parser.add_argument(
        "--vary",
        metavar="KEY=V1,V2,...",
        action="append",
        default=[],
        help="values of a setting or an option beside those of --space, as MLEN=32,64; may be repeated",
    )
    parser.add_argument(
        "--objective",
        dest="objectives",
        metavar="NAME",
        action="append",
        help="figure to make small: latency:PROFILE, cycles:PROFILE, area, bytes, static, error; may be repeated "
        "(default: latency:transactional and area; with --formats auto error and bytes)",
    )
    parser.add_argument(
        "--constraint",
        dest="constraints",
        metavar="BOUND",
        action="append",
        default=[],
        help="what a point must keep, beside those of --space, as 'area <= 2.0': an objective, dynamic, sram_bytes, "
        "bytes_per_row or utilization, <= or >=, a number; may be repeated",
    )
    parser.add_argument(
        "--samples",
        metavar="FILE.pt",
        type=Path,
        help=f"what the error is measured on (default: the example inputs): {SAMPLES_HELP}",
    )
    parser.add_argument(
        "--pruning",
        action="store_true",
        help="with the error as the only objective: give up points whose error on the first samples is above the "
        "median",
    )
    parser.add_argument("--trials", type=int, metavar="N", help="points to evaluate (default: all)")
    parser.add_argument(
        "--storage", metavar="FILE|URL", help="where the study lies (default: a file in the user's cache)"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="a Dask scheduler that runs, as tcp://host:8786"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes (default: one per processor; 0: none)"
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="start no more points after so long")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the sampler (default 0)")
    parser.add_argument("--report", metavar="FILE.html", type=Path, help="write a page: docs/explore.md")
    parser.add_argument(
        "--programs",
        type=int,
        default=10,
        metavar="N",
        help="points of the front whose programs have reports beside the page (default 10)",
    )
    parser.add_argument(
        "--traffic",
        type=float,
        metavar="TIMES",
        help="say which point has the least error with so many bytes moved, over those of the shipped formats; the "
        "page marks it (without this option that at 1.0); what no formats of the space can meet is an error before "
        "the search",
    )
    parser.add_argument("--csv", metavar="FILE", type=Path, help="write the table of points")
    parser.add_argument("--parquet", metavar="FILE", type=Path, help="write the table of points")
    add_compile_options(parser, without="objective")
    parser.set_defaults(**dict.fromkeys(OPTIONS))


def run(args: Namespace) -> int:
    """Search, print the front, write, choose; exit code 1 if there is no program at all.

    Raises:
        PlenaError: as of `plena.explore`; with everything written, if --traffic asks for a point that there is not.
    """
    from plena.exploring.explore import explore
    from plena.exploring.needs import require_libraries
    from plena.frontend.model_files import is_model

    require_libraries()
    if not is_model(args.model):
        raise PlenaError("exploring takes a model", str(args.model), "Name it: model.py:factory.")
    every_format = args.formats == AUTO
    space = space_of(args.space, args.vary, every_format)
    study = explore(
        args.model,
        space,
        args.objectives or (("error", "bytes") if every_format else ("latency:transactional", "area")),
        trials=args.trials,
        storage=args.storage,
        scheduler=args.scheduler,
        timeout=args.timeout,
        target=target_of(args),
        workers=args.workers,
        seed=args.seed,
        cache=args.cache,
        constraints=args.constraints,
        samples=None if args.samples is None else read_samples(args.samples),
        pruning=args.pruning,
        traffic=args.traffic,
        **_options(args),
    )
    front = study.front
    print_table(_front_table(study, front))
    print(f"{study}; in {study.storage}")
    for problem, count in study.table["problem"].value_counts().head(PROBLEMS).items():
        print(f"{count} x {problem}")
    if not len(front):
        for constraint in study.objectives.constraints:
            print(f"{constraint}: {_nearest(study, constraint)}")
    if args.csv is not None:
        _written(args.csv, study.table.to_csv)
    if args.parquet is not None:
        _written(args.parquet, study.table.to_parquet)
    if args.report is not None:
        traffic = 1.0 if args.traffic is None else args.traffic
        study.report(args.report, traffic=traffic, programs=args.programs)
    if args.traffic is not None:
        chosen = study.chosen(args.traffic)
        print(
            f"chosen at {args.traffic:g} times the shipped bytes: point {chosen}, {study.target(chosen).formats}"
        )
    return 0 if len(front) else 1


def space_of(file: Path | None, varied: Sequence[str], every_format: bool = False) -> dict[str, Any]:
    """The space of a file, of KEY=V1,V2,... texts, and with `every_format` of the formats of every class of tensors.

    Raises:
        PlenaError: neither, a key twice, a text of another form, or as of `Space.of`.
    """
    from plena.exploring.space import CONSTRAINTS, FORMAT_SPACE, Space

    found: dict[str, Any] = {}
    if file is not None:
        space = Space.of(file)
        found = {**space.values, **({CONSTRAINTS: space.constraints} if space.constraints else {})}
    for text in varied:
        key, _, values = text.partition("=")
        if not key.strip() or not values.strip():
            raise PlenaError(
                f"--vary takes KEY=V1,V2,..., not {text!r}", hint="For example --vary MLEN=32,64."
            )
        if key.strip() in found:
            raise PlenaError(f"`{key.strip()}` is given twice", "explore")
        found[key.strip()] = [setting(f"{key}={value.strip()}")[1] for value in values.split(",")]
    if every_format:
        found |= {key: v for key, v in Space.of(FORMAT_SPACE).values.items() if key not in found}
    if not found.keys() - {CONSTRAINTS}:
        raise PlenaError(
            "there is nothing to search",
            "explore",
            "Give --space FILE.toml, --vary MLEN=32,64 or --formats auto.",
        )
    return found


def _options(args: Namespace) -> dict[str, Any]:
    """The options of `plena.compile` that were given."""
    found: dict[str, Any] = {name: getattr(args, name) for name in OPTIONS}
    found |= {"allow_unsupported": args.allow_unsupported or None, "calibration": calibration_of(args)}
    found |= {"tuning": args.tuning, "rotation": args.rotation if args.rotation != "none" else None}
    return {name: value for name, value in found.items() if value is not None}


def _front_table(study: Study, front: pd.DataFrame) -> Table:
    names = [*study.space.values, *study.objectives.figures]
    notes = ["area_note"] if "area" in names else []
    table = table_of("point", *names, *("" for _ in notes))
    for number, row in front.head(LONGEST).iterrows():
        table.add_row(str(number), *(_shown(row[name]) for name in (*names, *notes)))
    return table


def _nearest(study: Study, constraint: Constraint) -> str:
    """How near points come to a constraint."""
    keep, best = constraint.standing([float(v) for v in study.table[constraint.figure].dropna()])
    if best is None:
        return "no point has that figure"
    return f"{keep} points keep it, the best is {best:,.4g}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return (
        f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool)
        else str(value).replace("<NA>", "none")
    )


def _written(path: Path, write: Any) -> None:
    """A file that appears whole or not at all.

    Raises:
        PlenaError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        write(part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise PlenaError(f"cannot be written: {error.strerror or error}", str(path)) from None


COMMAND = Command(
    "explore",
    "search machines, formats and schedules for a model",
    """\
plena explore examples/attention.py:one_head --vary MLEN=32,64 --vary BLEN=4,8 --vary max_instructions=100,none
plena explore model.py:layer --space space.toml --objective latency:pipelined --trials 500 --report out.html
plena explore model.py:layer --space space.toml --constraint 'area <= 2.0' --constraint 'static <= 700' --trials 200
plena explore model.py:layer --formats auto --traffic 1.1 --report out.html
plena explore model.py:layer --formats auto --objective error --samples samples.pt --pruning --trials 40
plena explore model.py:layer --space space.toml --scheduler tcp://10.0.0.1:8786 --storage study.db --timeout 36000""",
    arguments,
    run,
)
