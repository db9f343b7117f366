"""Program folders: the files of the public emulator, round trip, corrupt and shared folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from plena.api.program import Program
from plena.assembly import parse_mem
from plena.errors import PlenaError
from tests.program_samples import SCALE, linear_program, lookup_program, weights

X = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 16)).astype(np.float32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    linear_program(weights(), example_inputs=(X,)).save(tmp_path / "program")
    return tmp_path / "program"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_files_are_those_of_the_public_emulator(folder: Path) -> None:
    files = contents(folder)
    assert set(files) == {
        "generated_asm_code.asm",
        "generated_machine_code.mem",
        "hbm_for_behave_sim.bin",
        "fp_sram.bin",
        "int_sram.bin",
        "hbm_size.txt",
        "manifest.json",
    }
    program = linear_program(weights())
    np.testing.assert_array_equal(parse_mem(files["generated_machine_code.mem"].decode()), program.words)
    mx = program.target.precision["HBM_M_WEIGHT_TYPE"]
    elements, scales = mx.encode(weights())
    image = np.frombuffer(files["hbm_for_behave_sim.bin"], np.uint8)
    np.testing.assert_array_equal(image[:256], elements.reshape(-1))
    np.testing.assert_array_equal(image[SCALE : SCALE + 32], scales.reshape(-1))
    np.testing.assert_array_equal(image[256:320], mx.encode(X.numpy())[0].reshape(-1))
    assert int(files["hbm_size.txt"]) % 64 == 0 and int(files["hbm_size.txt"]) >= image.size
    assert [p.name for p in folder.parent.iterdir()] == ["program"], "nothing is left behind"


def test_scalar_and_vector_preloads(tmp_path: Path) -> None:
    ids, x = torch.tensor([4, 9]), torch.randn(16, 2)
    lookup_program(example_inputs=(ids, x)).save(tmp_path / "p")
    files = contents(tmp_path / "p")
    assert np.frombuffer(files["fp_sram.bin"], "<f2").tolist() == [0.5, float(np.float16(1e-6))] + [0] * 8
    assert np.frombuffer(files["int_sram.bin"], "<u4").tolist() == [7, 0, 4, 9] + [0] * 6
    assert len(files["hbm_for_behave_sim.bin"]) == 64, "no file is empty"
    vector = np.frombuffer(files["vram_preload.bin"], "<u2")
    assert vector.size == 48 and not vector[:16].any() and vector[16:].all()
    loaded = Program.load(tmp_path / "p")
    saved, given = loaded.run_saved(), loaded.run(ids, x)
    assert all(torch.equal(a, b) for a, b in zip(saved, given, strict=True))
    # The ids of one call are no constants, for which an optimiser might take them.
    known = {start: span for start, *span in loaded.preloaded_spans()["int"]}
    assert known[0] == [1, 7, 7] and len(loaded.preloaded_spans()["int"]) == len(known)
    assert known[2][0] == 4 and len(known[2]) != 3


def test_round_trip(folder: Path) -> None:
    program, loaded = linear_program(weights(), example_inputs=(X,)), Program.load(folder)
    for part in (
        "target",
        "inputs",
        "outputs",
        "placements",
        "memory_map",
        "provenance",
        "decisions",
        "rationale",
        "timing",
    ):
        assert getattr(loaded, part) == getattr(program, part), part
    assert loaded.asm == program.asm and loaded.stats().as_dict() == program.stats().as_dict()
    want = program.run(X)
    assert torch.equal(loaded.run_saved(), want)
    assert torch.equal(loaded.run(X), want)
    other = torch.randn(4, 16)
    assert torch.equal(loaded.run(other), program.run(other))
    with pytest.raises(PlenaError, match="saved without inputs"):
        loaded.run_saved()


def test_the_outcome_of_a_check_is_saved(tmp_path: Path) -> None:
    program = linear_program(weights(), example_inputs=(X,))
    program.float_reference = program.machine_reference = lambda x: (
        x.double() @ torch.from_numpy(weights()).double().T
    )
    report = program.check(quiet=True)
    assert report.float32 is not None and report.quantized is None
    program.save(tmp_path / "p")
    loaded = Program.load(tmp_path / "p")
    assert loaded.last_check == report
    assert loaded.with_words(loaded.words[:-1]).last_check is None, "other code has not been checked"


def test_the_bytes_are_deterministic(folder: Path, tmp_path: Path) -> None:
    again = linear_program(weights(), example_inputs=(X,))
    again.run(torch.randn(4, 16))
    again.save(tmp_path / "again")
    assert contents(folder) == contents(tmp_path / "again"), "earlier runs leave no trace"
    Program.load(folder).save(tmp_path / "copy")
    assert contents(folder) == contents(tmp_path / "copy"), "nor does loading"


def test_saving_over_an_older_program_and_over_itself(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    ids, x = torch.tensor([4, 9]), torch.randn(16, 2)
    lookup_program(example_inputs=(ids, x)).save(folder)
    assert (folder / "vram_preload.bin").exists() and (folder / "notes.txt").read_text() == "mine"
    loaded = Program.load(folder)
    loaded.save(folder)
    linear_program(weights(), example_inputs=(X,)).save(folder)
    assert not (folder / "vram_preload.bin").exists()
    assert Program.load(folder).inputs[0].name == "x"


def test_a_failed_save_leaves_the_old_program(folder: Path) -> None:
    before = contents(folder)

    def broken(symbol: str) -> np.ndarray:
        raise PlenaError("no weights")

    with pytest.raises(PlenaError, match="no weights"):
        linear_program(None, broken).save(folder)
    with pytest.raises(PlenaError, match="takes 1 inputs"):
        linear_program(weights()).save(folder, inputs=())
    assert contents(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ["program"]
    with pytest.raises(PlenaError, match="cannot write"):
        linear_program(weights()).save(folder / "manifest.json")


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes())) and None


def edit_manifest(**parts: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest.update(parts)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return change


def edit_words(folder: Path) -> None:
    """Consistent checksums, but the words are not those of the assembly."""
    import plena.program.folder as files

    path = folder / "generated_machine_code.mem"
    path.write_text(path.read_text()[:-11] + "0x00000034\n")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][path.name] = {"bytes": path.stat().st_size, "crc32": files.checksum(path)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            edit("hbm_for_behave_sim.bin", lambda b: b[:-5]),
            "hbm_for_behave_sim.bin: truncated: .* bytes instead",
        ),
        (edit("hbm_for_behave_sim.bin", lambda b: b + b"1"), "too long"),
        (edit("fp_sram.bin", lambda b: b + b"12"), "fp_sram.bin: too long"),
        (edit("hbm_for_behave_sim.bin", lambda b: b"\1" + b[1:]), "changed since the program was saved"),
        (edit("generated_asm_code.asm", lambda b: b.replace(b"gp1", b"gp9", 1)), "asm: changed since"),
        (edit("manifest.json", lambda b: b[:100]), "manifest.json: cannot be read"),
        (edit("manifest.json", lambda b: b"[]"), "not a manifest"),
        (edit("manifest.json", lambda b: b"\xff\xfe"), "cannot be read"),
        (edit_manifest(format=99), "format 99, this compiler reads format 2"),
        (edit_manifest(target={"MLENN": 3}), "unknown setting"),
        (edit_manifest(target=None), "`target` must be an object, not None"),
        (edit_manifest(placements=[{"name": "x"}]), r"`placements\[0\].memory` is missing"),
        (edit_manifest(placements=3), "`placements` must be a list, not 3"),
        (edit_manifest(inputs=[]), "belongs to input 0, which there is not"),
        (edit_manifest(inputs=[{"name": "x"}]), r"`inputs\[0\].shape` is missing"),
        (edit_manifest(provenance=[[1, "a", "b"]]), "`provenance` is malformed"),
        (edit_manifest(provenance="abc"), "`provenance` must be a list, not 'abc'"),
        (edit_manifest(provenance=["abc"]), r"`provenance\[0\]` must be a list of 3, not 'abc'"),
        (edit_manifest(rationale={"model": "x"}), "`rationale.options` is missing"),
        (
            edit_manifest(
                rationale={
                    "model": "x",
                    "options": {},
                    "attempts": [],
                    "curve": [{"static": -1}],
                    "loops": [],
                }
            ),
            r"`rationale.curve\[0\].static` must be a whole number of at least 0, not -1",
        ),
        (edit_manifest(check={"machine": None}), "`check.quantized` is missing"),
        (edit_manifest(hbm_size=64), "hbm_size.txt says"),
        (edit_manifest(thresholds={"machine": "x"}), "`thresholds.machine` must be a number, not 'x'"),
        (edit_manifest(files={"../x": {"bytes": 1, "crc32": ""}}), "unknown file"),
        (edit_manifest(files={"fp_sram.bin": 3}), "`files.fp_sram.bin` must be an object, not 3"),
        (edit_words, "generated_asm_code.asm and generated_machine_code.mem differ from instruction 12 on"),
        (lambda folder: (folder / "int_sram.bin").unlink(), "int_sram.bin: cannot be read: No such file"),
        (lambda folder: (folder / "manifest.json").unlink(), "not a program folder"),
    ],
)
def test_damaged_folders_are_refused(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(PlenaError, match=message):
        Program.load(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(PlenaError, match="no such program folder"):
        Program.load(tmp_path / "none")
    with pytest.raises(PlenaError, match="not a program folder"):
        Program.load(tmp_path)


def test_a_folder_can_share_the_weights_of_another(folder: Path, tmp_path: Path) -> None:
    other = torch.randn(4, 16)
    program = linear_program(weights(), example_inputs=(other,))
    program.save(tmp_path / "shared", share=folder)
    files = contents(tmp_path / "shared")
    assert "hbm_for_behave_sim.bin" not in files
    image = (folder / "hbm_for_behave_sim.bin").stat().st_size
    assert len(files["hbm_private.bin"]) == image - 256 - 32
    loaded = Program.load(tmp_path / "shared")
    assert torch.equal(loaded.run_saved(), program.run(other))
    loaded.save(tmp_path / "whole", inputs=(X,))
    assert (
        contents(tmp_path / "whole")["hbm_for_behave_sim.bin"] == contents(folder)["hbm_for_behave_sim.bin"]
    )
    with pytest.raises(PlenaError, match="Share that one"):
        program.save(tmp_path / "third", share=tmp_path / "shared")
    with pytest.raises(PlenaError, match="its own folder"):
        program.save(folder, share=folder)


def test_different_weights_are_not_shared(folder: Path, tmp_path: Path) -> None:
    linear_program(weights(7), example_inputs=(X,)).save(tmp_path / "other", share=folder)
    assert "hbm_for_behave_sim.bin" in contents(tmp_path / "other")


def test_a_shared_image_that_changed_is_noticed(folder: Path, tmp_path: Path) -> None:
    linear_program(weights(), example_inputs=(X,)).save(tmp_path / "shared", share=folder)
    linear_program(weights(3), example_inputs=(X,)).save(folder)
    with pytest.raises(PlenaError, match="not the one that this program shares"):
        Program.load(tmp_path / "shared")
