"""`plena tune`: better schedules for a model, or for the programs of a study, kept in a tuning database."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from plena.cli.commands.command import Command
from plena.cli.commands.sources import MODEL_HELP, add_compile_options, compile_options
from plena.cli.settings import target_of
from plena.errors import PlenaError


def arguments(parser: ArgumentParser) -> None:
    """The model, how long, the study, and what `plena.compile` takes."""
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument(
        "--seconds", type=float, default=60.0, metavar="N", help="how long to try (default 60)"
    )
    parser.add_argument(
        "--trials", type=int, metavar="N", help="schedules to try at most (default: no limit)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the chance (default 0)")
    parser.add_argument(
        "--study",
        metavar="FILE|URL",
        help="tune the programs of the front of this study of plena explore, also while it is under way",
    )
    add_compile_options(parser)


def run(args: Namespace) -> int:
    """Tune, print what came of it."""
    if args.tuning is None:
        raise PlenaError(
            "there is no tuning database", "tune", "Give --tuning FILE; it is made if there is none."
        )
    if args.study is not None:
        return _tune_study(args)
    from plena.api.tune import tune
    from plena.frontend.model_files import load_model

    module, inputs, kwargs = load_model(args.model)
    options = {name: value for name, value in compile_options(args).items() if value is not None}
    found = tune(
        module,
        inputs,
        kwargs,
        seconds=args.seconds,
        trials=args.trials,
        seed=args.seed,
        target=target_of(args),
        **options,
    )
    print(found)
    return 0


def _tune_study(args: Namespace) -> int:
    from plena.exploring.tuning import tune_study

    tune_study(
        args.model,
        args.study,
        tuning=args.tuning,
        seconds=args.seconds,
        seed=args.seed,
        news=lambda tuned: print(tuned, flush=True),
    )
    return 0


COMMAND = Command(
    "tune",
    "look for a better schedule and keep it for plena compile --tuning",
    """\
plena tune model.py:layer --tuning tuning.db --trials 20
plena tune model.py:layer --tuning tuning.db --timing pipelined --max-instructions 500 --trials 20
plena compile model.py:layer -o out/layer --tuning tuning.db
plena tune model.py:layer --tuning tuning.db --study study.db --seconds 3600""",
    arguments,
    run,
)
