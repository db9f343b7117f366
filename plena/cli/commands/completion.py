"""`plena completion`: what makes a shell complete commands, options and file names."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from plena.cli.commands.command import Command

SHELLS = ("bash", "zsh", "fish")


def arguments(parser: ArgumentParser) -> None:
    """The shell."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads what is printed")


def run(args: Namespace) -> int:
    """Print the shell's code; it asks `plena` itself for completions (argcomplete)."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["plena"], shell=args.shell))
    return 0


COMMAND = Command(
    "completion",
    "print what makes a shell complete this command line",
    """\
plena completion bash > ~/.local/share/bash-completion/completions/plena
plena completion zsh > ~/.zfunc/_plena
plena completion fish > ~/.config/fish/completions/plena.fish""",
    arguments,
    run,
)
