"""The command line: in this process, and as users start it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import plena
from plena.api.program import Program
from plena.assembly import encode, parse_asm, print_mem
from plena.cli import plena_cli
from plena.frontend.model_files import is_model, load_model
from tests.program_samples import LINEAR, SMALL, linear_program, weights

X = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 16)).astype(np.float32))
SETTINGS = [f"--set={key}={value}" for key, value in SMALL.settings().items()]

MODEL = """
import torch, torch.nn.functional as F

class Attention(torch.nn.Module):
    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v)

def factory():
    torch.manual_seed(0)
    return Attention(), tuple(torch.randn(1, 1, 64, 64) / 2 for _ in range(3))

def linear():
    torch.manual_seed(0)
    layer = torch.nn.Linear(16, 16, bias=False)
    layer.weight.data = torch.load(__file__.replace("model.py", "weight.pt"))
    return layer, torch.load(__file__.replace("model.py", "x.pt"))

class Unsupported(torch.nn.Module):
    def forward(self, x):
        return torch.special.i0(x)

def unsupported():
    return Unsupported(), (torch.zeros(4, 16),)

class Routed(torch.nn.Module):
    def forward(self, x):
        return x * torch.zeros_like(x).scatter(1, x.topk(2)[1], x.topk(2)[0])

def routed():
    return Routed(), (torch.randn(4, 16),)

def broken():
    return undefined_name

def nothing():
    return 3

number = 7
"""


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


class Shell:
    """Runs `plena` in this process, in a folder with a program, a model and some files."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def __call__(self, *args: str) -> Result:
        code = plena_cli.main(args)
        printed = self.capsys.readouterr()
        return Result(code, printed.out, printed.err)

    def fails(self, *args: str) -> str:
        """The one message of a command that must fail."""
        result = self(*args)
        assert result.code == 1
        assert result.err.startswith("error: ") and result.err.count("\n") == 1, result.err
        assert "Traceback" not in result.err and "internal error" not in result.err
        return result.err


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    linear_program(weights(), example_inputs=(X,)).save("program")
    Path("model.py").write_text(MODEL)
    Path("code.asm").write_text(LINEAR)
    Path("code.mem").write_text(print_mem(encode(parse_asm(LINEAR))))
    torch.save(torch.from_numpy(weights()), "weight.pt")
    torch.save(X, "x.pt")
    torch.save([X], "list.pt")
    torch.save({"x": X, "other": X}, "dict.pt")
    torch.save({"y": X}, "wrong.pt")
    return Shell(tmp_path, capsys)


@pytest.mark.parametrize("options", [(), ("--allow-unsupported",)])
@pytest.mark.parametrize("timing", ["serialized", "rtl-v1"])
def test_no_profile_without_cycles_for_v_topk_chooses_a_routed_layer(
    shell: Shell, timing: str, options: tuple[str, ...]
) -> None:
    error = shell.fails("compile", "model.py:routed", "-o", "out", "--timing", timing, *options)
    assert error.count("no cycles are known for V_TOPK. Choose by another profile") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize("command", [c.name for c in plena_cli.commands()])
def test_every_subcommand_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        plena_cli.main([command, "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and f"plena {command} " in text.partition("examples:")[2]


def test_examples_in_the_help_parse() -> None:
    parser = plena_cli.parser()
    for command in plena_cli.commands():
        files: set[str] = set()
        for line in command.examples.splitlines():
            before, _, file = line.partition(" > ")
            words = shlex.split(before)
            if words[0] == "plena-opt":  # goes on with a file that the command wrote; test_examples runs it
                assert words[1] in files
                continue
            files.add(file)
            assert words[0] == "plena" and words[1] in (
                command.name,
                "compile",
            )  # which takes what others wrote
            if "--preloaded" not in line:
                parser.parse_args(words[1:])


def test_run_saved_random_and_given_inputs(shell: Shell) -> None:
    saved = shell("run", "program")
    assert saved.code == 0 and "28 instructions" in saved.out and "y: float32[4, 16]: mean" in saved.out
    for name in ("x.pt", "list.pt", "dict.pt"):
        assert shell("run", "program", "--inputs", name, "-o", "y.pt").out == saved.out
    torch.testing.assert_close(torch.load("y.pt"), linear_program(weights()).run(X), rtol=0, atol=0)
    one, two, again = (shell("run", "program", "--inputs", "random", "--seed", s).out for s in "121")
    assert one != two and one == again


def test_check_a_folder_with_its_module(shell: Shell) -> None:
    passed = shell("check", "program", "--module", "model.py:linear", "--inputs", "random")
    assert passed.code == 0 and "quantized" in passed.out and passed.out.endswith("passed\n")
    torch.save(torch.from_numpy(weights()) * 2, "weight.pt")
    failed = shell("check", "program", "--module", "model.py:linear")
    assert failed.code == 1 and "FAILED" in failed.out and failed.err == ""


def test_report_of_folders_code_and_models(shell: Shell) -> None:
    result = shell("report", "program", "--module", "model.py:linear", "-o", "report.html")
    assert result.code == 0 and result.out == "wrote report.html\n", "nothing is missing"
    assert "Passed." in Path("report.html").read_text()
    result = shell("report", "program", "-o", "report.html")
    assert "not in it: check (no comparison with PyTorch was saved)" in result.out
    result = shell("report", "code.asm", "-o", "code.html", *SETTINGS)
    assert result.code == 0 and "not in it: modules" in result.out
    Path("program/hbm_for_behave_sim.bin").write_bytes(b"")
    result = shell("report", "program", "--module", "model.py:linear", "-o", "report.html")
    assert result.code == 0 and "truncated: 0 bytes" in result.out, "it cannot be run, but shown"
    assert "S_ADDI_INT" in Path("report.html").read_text()
    result = shell("report", "model.py:unsupported", "-o", "failed.html")
    assert result.code == 0 and "not in it: program" in result.out
    assert "The model was not compiled" in Path("failed.html").read_text()


def test_a_check_at_compile_time_is_in_the_report(shell: Shell) -> None:
    result = shell("compile", "model.py:factory", "-o", "out", "--check")
    assert result.code == 0 and "passed" in result.out
    result = shell("report", "out", "-o", "report.html")
    assert result.out == "wrote report.html\n"
    text = Path("report.html").read_text()
    assert "Passed." in text and "softmax" in text and 'class="line"' in text


def test_stats_of_text_words_and_folders(shell: Shell) -> None:
    texts = [shell("stats", name, *SETTINGS, "--json").out for name in ("code.asm", "code.mem")]
    assert texts[0] == texts[1]
    whole = json.loads(shell("stats", "program", "--json").out)
    assert whole["cycles"] == json.loads(texts[0])["cycles"]
    assert set(whole["steps"]) == {"load", "product"} and whole["utilization"]
    table = shell("stats", "program").out
    assert "by step" in table and "M_TMM" in table and "transactional" in table
    assert "utilization, pipelined" in table
    assert "utilization, rtl-v1" not in table  # M_TMM has no place there
    other = json.loads(
        shell("stats", "code.asm", *SETTINGS, "--set", "LATENCY.SCALAR_INT_BASIC_CYCLES=3", "--json").out
    )
    assert other["cycles"]["transactional"] > whole["cycles"]["transactional"]


def test_timelines(shell: Shell) -> None:
    shown = shell("stats", "program", "--timeline", "--trace", "timeline.json", "--timing", "rtl-v1").out
    assert "rtl-v1" in shown and "matrix" in shown and "DMA" in shown
    document = json.loads(Path("timeline.json").read_text())
    assert any(event["name"] == "M_TMM" for event in document["traceEvents"])
    assert "serialized" in shell("stats", "code.asm", *SETTINGS, "--timeline").out
    assert "Add --timeline" in shell.fails("stats", "program", "--timing", "rtl-v1")
    assert "one instruction after the other" in shell.fails(
        "stats", "program", "--timeline", "--timing", "transactional"
    )


def test_assemble_and_disassemble(shell: Shell) -> None:
    assert shell("asm", "code.asm").out == Path("code.mem").read_text()
    assert shell("asm", "code.asm", "-o", "new.mem").out == ""
    assert Path("new.mem").read_text() == Path("code.mem").read_text()
    text = shell("disasm", "new.mem").out
    np.testing.assert_array_equal(encode(parse_asm(text)), encode(parse_asm(LINEAR)))
    Path("quirk.asm").write_text("V_EXP_V gp1, gp2, 1\n")
    quirky, plain = shell("asm", "quirk.asm", "--upstream-quirks").out, shell("asm", "quirk.asm").out
    assert quirky != plain


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run"], "the following arguments are required: folder"),
        (["run", "nowhere"], "nowhere: no such program folder"),
        (["run", "program", "--inputs", "none.pt"], "none.pt: cannot be read"),
        (["run", "program", "--inputs", "code.asm"], "not a file of tensors"),
        (["run", "program", "--inputs", "wrong.pt"], "wrong.pt: has no tensor called x"),
        (["run", "program", "-o", "nowhere/y.pt"], "nowhere/y.pt: cannot be written"),
        (["check", "program"], "Name it: --module model.py:factory"),
        (["check", "model.py:linear", "--module", "model.py:linear"], "--module belongs to a program folder"),
        (["check", "program", "--module", "model.py"], "does not name a factory"),
        (["compile", "model.py:absent", "-o", "out"], "model.py: has no function `absent`"),
        (["compile", "model.py:number", "-o", "out"], "has no function `number`"),
        (["compile", "none.py:factory", "-o", "out"], "none.py: no such file"),
        (["compile", "model.py:broken", "-o", "out"], "NameError: name 'undefined_name' is not defined"),
        (["compile", "model.py:nothing", "-o", "out"], "must return (module, example_inputs), not int"),
        (["compile", "no.such.module:factory", "-o", "out"], "ModuleNotFoundError"),
        (["compile", "model.py:factory", "-o", "out", "--set", "MLENN=3"], "unknown setting `MLENN`"),
        (["compile", "model.py:factory", "-o", "out", "--set", "MLEN"], "--set takes KEY=VALUE"),
        (
            ["compile", "model.py:factory", "-o", "out", "--target", "x.toml"],
            "x.toml: cannot read the settings",
        ),
        (["compile", "model.py:factory", "-o", "out", "--objective", "beauty"], "invalid choice: 'beauty'"),
        (["curve", "model.py:linear", "--preloaded", "vector:0-64"], "--preloaded belongs to .asm and .mem"),
        (["curve", "model.py:broken"], "undefined_name"),
        (["explore", "code.asm", "--vary", "MLEN=16,32"], "exploring takes a model"),
        (["explore", "model.py:linear"], "Give --space FILE.toml, --vary MLEN=32,64 or --formats auto"),
        (["explore", "model.py:linear", "--vary", "MLEN"], "--vary takes KEY=V1,V2,..."),
        (["explore", "model.py:linear", "--vary", "MLENN=1"], "`MLENN` is neither a setting nor an option"),
        (
            ["explore", "model.py:linear", "--vary", "BLEN=4", "--objective", "beauty"],
            "no objective 'beauty'",
        ),
        (
            ["explore", "model.py:linear", "--vary", "BLEN=4", "--objektive=area"],
            "plena explore: unrecognized arguments: --objektive=area. Did you mean --objective? See `plena expl",
        ),
        (["explore", "model.py:linear", "--space", "none.toml"], "none.toml: cannot be read"),
        (["curve", "nowhere.asm"], "nowhere.asm: cannot be read"),
        (["stats", "none.asm"], "none.asm: cannot be read: No such file"),
        (["stats", "x.pt"], "x.pt: not a text file"),
        (["asm", "code.mem"], "code.mem:1:1: unknown mnemonic"),
        (["asm", "code.asm", "-o", "nowhere/x.mem"], "nowhere/x.mem: cannot be written"),
        (["disasm", "code.asm"], "is not a 32-bit hexadecimal word"),
        (["stats", "code.asm", "--set", "MLEN=0"], "MLEN"),
        (["report", "none", "-o", "r.html"], "no such program folder"),
        (["report", "program", "-o", "none/r.html"], "cannot be written"),
        (["report", "code.asm", "--module", "model.py:linear", "-o", "r.html"], "cannot be checked"),
        (["report", "model.py:linear", "--module", "model.py:linear", "-o", "r.html"], "belongs to"),
        (["report", "program"], "required: -o"),
    ],
)
def test_every_error_is_one_message(shell: Shell, args: list[str], message: str) -> None:
    assert message in shell.fails(*args)
    assert not Path("out").exists(), "nothing half-written"


def test_an_error_in_the_users_model_names_its_line(shell: Shell) -> None:
    line = MODEL[: MODEL.index("return undefined_name")].count("\n") + 1
    assert f"model.py:{line}: broken() failed" in shell.fails("compile", "model.py:broken", "-o", "out")
    Path("syntax.py").write_text("x = (\n")
    assert "syntax.py:1" in shell.fails("compile", "syntax.py:factory", "-o", "out")


def test_what_names_a_model(shell: Shell) -> None:
    assert is_model("model.py:factory") and is_model("package.models:make")
    assert not is_model("program") and not is_model("model.py") and not is_model("out/a:b/c")
    module, inputs, _ = load_model("model.py:linear")
    assert isinstance(inputs, tuple) and module(*inputs).shape == (4, 16)


def test_as_a_process(shell: Shell) -> None:
    """One good and one bad command; nothing heavy is imported for help."""
    good = subprocess.run(
        [sys.executable, "-m", "plena.cli.plena_cli", "stats", "program"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert good.returncode == 0 and "static instructions" in good.stdout and good.stderr == ""
    bad = subprocess.run(
        [sys.executable, "-m", "plena.cli.plena_cli", "run", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        bad.returncode == 1 and bad.stdout == "" and bad.stderr.startswith("error: x: no such program folder")
    )
    program = (
        "import sys; from plena.cli import plena_cli; plena_cli.parser();"
        "sys.exit(bool({'torch', 'numba', 'numpy', 'xdsl', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_compile_run_check(shell: Shell) -> None:
    compiled = shell("compile", "model.py:factory", "-o", "attention")
    assert compiled.code == 0, compiled.err
    assert "static" in compiled.out and "compiled in" in compiled.out
    assert Program.load("attention").inputs[0].shape == (1, 1, 64, 64)
    assert shell("run", "attention").code == 0
    assert shell("check", "attention", "--module", "model.py:factory").code == 0
    checked = shell("check", "model.py:factory", "--attention", "rows")
    assert checked.code == 0 and "machine" in checked.out and "not available" not in checked.out
    shared = shell("compile", "model.py:factory", "-o", "attention2", "--share-weights", "attention")
    assert shared.code == 0


def test_ab_compares_steps_and_results(shell: Shell) -> None:
    result = shell("ab", "model.py:factory", "--verify")
    assert result.code == 0, result.err
    assert "sum" in result.out and "the same, bit by bit" in result.out


def test_verify(shell: Shell) -> None:
    assert shell("verify", "program").out == "clean\n"
    plena.compile(torch.nn.Softmax(-1), (X,)).save("softmax")
    assert shell("verify", "softmax").out == "clean\n"
    alone = shell("verify", "softmax/generated_asm_code.asm")
    assert alone.code == 0 and "plena verify softmax" in alone.out
    told = shell("verify", "softmax/generated_asm_code.asm", "--preloaded", "fp:0-8")
    assert "plena verify" not in told.out
    Path("bad.asm").write_text("S_ADDI_INT gp1, gp0, 3\nV_EXP_V gp1, gp1, 0\n")
    bad = shell("verify", "bad.asm")
    assert bad.code == 1 and "unaligned-vram" in bad.out and "2 errors" in bad.out


def test_verify_for_the_rtl(shell: Shell) -> None:
    Path("upper.asm").write_text(
        "S_LUI_INT gp1, 1\nS_ADDI_INT gp0, gp0, 0\nS_ADDI_INT gp0, gp0, 0\nC_BREAK\n"
    )
    bad = shell("verify", "upper.asm", "--machine", "rtl")
    assert bad.code == 1 and "[R08, RTL code]" in bad.out and "2 errors, 0 warnings" in bad.out


def test_optimize(shell: Shell) -> None:
    rolled = parse_asm(LINEAR)
    straight = rolled[:7] + rolled[8:12] * 4
    from plena.assembly import print_asm

    Path("straight.asm").write_text(print_asm(straight))
    result = shell("optimize", "straight.asm", *SETTINGS, "--objective", "size", "-o", "better.asm")
    assert result.code == 0, result.err
    assert "before" in result.out and len(parse_asm(Path("better.asm").read_text())) < len(straight)


def test_optimize_a_folder(shell: Shell) -> None:
    result = shell("optimize", "program", "--objective", "cycles", "-o", "faster")
    assert result.code == 0, result.err
    before, after = Program.load("program"), Program.load("faster")
    assert torch.equal(before.run_saved(), after.run_saved())
    assert after.stats().cycles["transactional"] <= before.stats().cycles["transactional"]
    assert "must be called .asm or .mem" in shell.fails("optimize", "code.asm", *SETTINGS, "-o", "folder")


def test_curve_of_a_folder_and_of_assembly(shell: Shell) -> None:
    for name in ("program", "code.asm"):
        result = shell("curve", name, *SETTINGS, "-o", "curve")
        assert result.code == 0, result.err
        assert all(word in result.out for word in ("rolled", "chosen", "expanded", "transactional cycles"))
        header, *rows = (line.split(",") for line in Path("curve/curve.csv").read_text().splitlines())
        assert header == ["name", "static", "dynamic", "transactional_cycles", "exact"]
        assert {"rolled", "chosen", "expanded", ""} == {row[0] for row in rows}
        assert "</svg>" in Path("curve/curve.svg").read_text()
    size = shell(
        "curve", "program", "--objective", "size", "--max-instructions", "2000", "--timing", "pipelined"
    )
    assert size.code == 0 and "pipelined cycles" in size.out
    Path("file").write_text("")
    assert "file: cannot be made" in shell.fails("curve", "program", "-o", "file", "--plots", "none")


def test_explore(shell: Shell) -> None:
    machine = [*SETTINGS, "--set", "VECTOR_SRAM_SIZE=4096"]
    search = ["explore", "model.py:linear", *machine, "--workers", "0", "--matmul", "mm"]
    points = ["--vary", "BLEN=4,8", "--vary", "max_instructions=2,none", "--objective", "static"]
    files = ["--storage", "study.db", "--csv", "points.csv", "--parquet", "points.parquet"]
    result = shell(*search, *points, *files)
    assert result.code == 0, result.err + result.out
    assert "4 points of 4: 1 on the front, 2 without a program" in result.out and "study.db" in result.out
    assert "2 x options: no program of at most 2 instructions" in result.out, "also where others have one"
    lines = Path("points.csv").read_text().splitlines()
    assert lines[0].startswith("number,BLEN,max_instructions,static,") and len(lines) == 5
    assert Path("points.parquet").read_bytes().startswith(b"PAR1")
    chosen = shell(
        *search, *points[:2], "--objective", "error", "--traffic", "1.1", "--storage", "formats.db"
    )
    assert chosen.code == 0 and "chosen at 1.1 times the shipped bytes: point " in chosen.out
    other = shell(
        *search, "--vary", "FORMATS=e3m4", "--objective", "error", "--traffic", "1.1", "--storage", "other.db"
    )
    assert other.code == 1 and "which none of the points has" in other.err
    nothing = shell(*search, "--vary", "max_instructions=2", "--storage", "none.db")
    assert nothing.code == 1 and "1 without a program" in nothing.out and "The smallest has" in nothing.out
