"""`plena evaluate` and `plena calibrate`: results against PyTorch on samples; weights rounded for samples."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from plena.cli.commands.command import Command
from plena.cli.commands.sources import (
    MODEL_HELP,
    SAMPLES_HELP,
    add_compile_options,
    compile_model,
    read_samples,
)
from plena.errors import PlenaError
from plena.text_files import read_text


def _evaluate_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", help=f"{MODEL_HELP}; or a program folder, or a folder of `plena compile-lm`")
    parser.add_argument("--samples", metavar="FILE.pt", type=Path, help=SAMPLES_HELP)
    parser.add_argument(
        "--prompts", metavar="FILE", type=Path, help="of a language model: texts, one in a line"
    )
    parser.add_argument(
        "--module", metavar="MODEL", help="the model of a folder: model.py:factory, or a folder or GGUF file"
    )
    add_compile_options(parser)


def _evaluate(args: Namespace) -> int:
    """Compile or load, judge, print."""
    from plena.api.evaluation import evaluate
    from plena.frontend.model_files import is_model, load_model

    if is_model(args.model):
        program, module = compile_model(args)
        print(evaluate(program, read_samples(_given(args, "samples")), module=module))
        return 0
    folder = Path(args.model)
    if _is_language_model(folder):
        return _evaluate_language_model(folder, args)
    from plena.api.program import Program

    if args.module is None:
        raise PlenaError(
            "a program folder does not hold its model", args.model, "Name it: --module model.py:factory."
        )
    samples = read_samples(_given(args, "samples"))
    print(evaluate(Program.load(folder), samples, module=load_model(args.module)[0]))
    return 0


def _is_language_model(folder: Path) -> bool:
    try:
        from plena.hf.folder import MANIFEST
    except ModuleNotFoundError:
        return False
    return (folder / MANIFEST).exists()


def _evaluate_language_model(folder: Path, args: Namespace) -> int:
    from plena.api.evaluation import evaluate
    from plena.hf import PlenaForCausalLM
    from plena.hf.folder import load_model, load_tokenizer

    prompts = [line for line in read_text(_given(args, "prompts")).splitlines() if line.strip()]
    if args.module is None:
        raise PlenaError(
            "a folder of programs does not hold its model",
            str(folder),
            "Name it: --module FOLDER or FILE.gguf.",
        )
    lm, model = PlenaForCausalLM.from_pretrained(folder), load_model(Path(args.module))
    print(evaluate(lm, prompts, module=model, tokenizer=load_tokenizer(folder)))
    return 0


def _given(args: Namespace, name: str) -> Path:
    """The file that an option names.

    Raises:
        PlenaError: it is missing.
    """
    path: Path | None = getattr(args, name)
    if path is None:
        raise PlenaError(f"--{name} is missing", args.model, f"Give --{name} FILE.")
    return path


def _calibrate_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("--samples", metavar="FILE.pt", type=Path, required=True, help=SAMPLES_HELP)
    parser.add_argument("-o", "--output", metavar="FILE.npz", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--formats", default="shipped", metavar="NAME", help="that the program will have (default: shipped)"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="DIR",
        type=Path,
        help="keeps layers that are done; the next call goes on there",
    )


def _calibrate(args: Namespace) -> int:
    """Calibrate, save, print what became of each weight."""
    from plena.api.calibrate import calibrate
    from plena.frontend.model_files import load_model

    module, _, _ = load_model(args.model)
    found = calibrate(module, read_samples(args.samples), args.formats, checkpoint=args.checkpoint)
    found.save(args.output)
    print(found)
    return 0


EVALUATE = Command(
    "evaluate",
    "judge a program or a language model against PyTorch, with confidence intervals",
    """\
plena evaluate model.py:layer --samples samples.pt --formats mixed
plena evaluate out/layer --module model.py:layer --samples samples.pt
plena evaluate out/smollm2 --module SmolLM2-135M-Instruct.Q4_1.gguf --prompts prompts.txt""",
    _evaluate_arguments,
    _evaluate,
)

CALIBRATE = Command(
    "calibrate",
    "round the weights of a model for samples of its inputs",
    """\
plena calibrate model.py:layer --samples samples.pt -o weights.npz
plena calibrate model.py:layer --samples samples.pt -o weights.npz --formats e3m4 --checkpoint parts
plena compile model.py:layer -o out --formats e3m4 --staging calibrated --calibration weights.npz""",
    _calibrate_arguments,
    _calibrate,
)
