"""The options of the tools that choose the machine (--target FILE.toml, --formats, --set KEY=VALUE) and the program."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from plena.errors import PlenaError
from plena.passes.options import OPTIONS

if TYPE_CHECKING:
    from plena.machine.target import Target


AUTO = "auto"
"""Formats that `plena compile` chooses."""


def add_options(parser: ArgumentParser, names: Iterable[str]) -> None:
    """Add options of the table `OPTIONS`."""
    for name in names:
        option = OPTIONS[name]
        flag = f"--{option.hyphenated}"
        if option.choices:
            parser.add_argument(flag, choices=option.choices, default=option.default, help=option.help)
        else:
            parser.add_argument(flag, type=int, metavar="N", help=option.help)


def add_target_options(parser: ArgumentParser) -> None:
    """Add --target, --formats and --set."""
    parser.add_argument(
        "--target",
        metavar="FILE.toml",
        help="settings of the machine, as plena_settings.toml (default: shipped)",
    )
    parser.add_argument(
        "--formats",
        metavar="NAME",
        help="number formats in HBM: shipped, e3m4, mixed, bf16, or by class as weights=e3m4,keys_values=bf16 "
        "(default: those of the target)",
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override one setting, for example MLEN=16 or PRECISION.HBM_M_WEIGHT_TYPE.block=16",
    )


def target_of(args: Namespace, default: Target | None = None) -> Target:
    """The machine that the options choose.

    Raises:
        SettingsError: a settings file or an override that describes no machine.
        PlenaError: an override that is not KEY=VALUE.
    """
    from plena.machine.target import FORMATS, Target

    target = (default or Target()) if args.target is None else Target.from_toml(args.target)
    formats = {} if args.formats in (None, AUTO) else {FORMATS: args.formats}
    if args.formats == AUTO and not hasattr(args, "traffic"):
        raise PlenaError("formats are chosen by plena compile", "--formats", "Name the formats here.")
    return target.with_settings({**formats, **dict(setting(text) for text in args.overrides)})


def setting(text: str) -> tuple[str, Any]:
    """KEY=VALUE with a TOML value; a bare word is a string.

    Raises:
        PlenaError: no `=`.
    """
    import tomllib

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise PlenaError(f"--set takes KEY=VALUE, not {text!r}", hint="For example --set MLEN=16.")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
