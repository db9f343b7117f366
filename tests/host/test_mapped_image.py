"""Large images in files: what runs and calls write stays out of the file and out of the image."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from plena.api.program import Program
from plena.errors import PlenaError
from plena.host import mapped_image
from plena.host.mapped_image import copy_written, new_image, open_image, private_copy
from plena.program import folder as folders
from tests.program_samples import linear_program, weights

X = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 16)).astype(np.float32))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image is large."""
    monkeypatch.setattr(mapped_image, "LARGE", 0)
    monkeypatch.setattr(folders, "LARGE", 0)


@pytest.mark.usefixtures("large")
def test_copies_see_what_the_image_holds_and_keep_what_is_written_to_themselves() -> None:
    image = new_image(5000, 8192)
    assert image.shape == (5000,) and not image.any()
    image[4999] = 7
    copy = private_copy(image, 8192)
    assert copy is not None and copy.shape == (8192,) and copy[4999] == 7
    copy[:] = 1
    assert image.sum() == 7
    other = private_copy(image, 64)
    assert other is not None and not other.any()
    assert private_copy(image, 8193) is None, "the file is not so long"
    assert private_copy(image[1:], 64) is None and private_copy(np.zeros(64, np.uint8), 64) is None


@pytest.mark.usefixtures("large")
def test_images_go_with_their_last_array() -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    gc.collect()
    before = files()
    images = [new_image(4096, 4096) for _ in range(5)]
    parts = [image[5:9] for image in images]
    del images
    parts[0][:] = 3
    assert files() >= before + 5
    del parts
    gc.collect()
    assert files() == before


def test_a_file_stays_as_it_is_under_another_name_too(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(bytes([1, 2, 3, 4]))
    image = open_image(path)
    image[0] = 9
    (tmp_path / "other").write_bytes(bytes(4))
    os.replace(tmp_path / "other", path)
    copy = private_copy(image, 4)
    assert copy is not None and copy.tolist() == [1, 2, 3, 4], "not what has the name now"
    (tmp_path / "empty").touch()
    assert open_image(tmp_path / "empty").size == 0


def test_what_is_zero_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_image, "COPIED", 4)
    source = np.array([0, 0, 0, 0, 5, 0, 0, 0, 0, 6], np.uint8)
    target = np.full(12, 1, np.uint8)
    copy_written(source, target)
    assert target.tolist() == [1, 1, 1, 1, 5, 0, 0, 0, 0, 6, 1, 1]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with 100 bytes left: a mapped file on it would end the process."""

    class Full:
        free = 100

    def usage(folder: object) -> type[Full]:
        return Full

    monkeypatch.setattr(mapped_image.shutil, "disk_usage", usage)


@pytest.mark.usefixtures("large", "full")
def test_no_space_is_memory() -> None:
    assert private_copy(new_image(4096, 4096), 64) is None


@pytest.mark.usefixtures("full")
def test_a_folder_for_which_there_is_no_space_is_refused(tmp_path: Path) -> None:
    program = linear_program(weights(), example_inputs=(X,))
    with pytest.raises(PlenaError, match=r"the image needs [\d,]+ bytes, 100 are free"):
        program.save(tmp_path / "p")
    assert not any(tmp_path.iterdir())


@pytest.mark.usefixtures("large")
def test_programs_run_on_their_file(tmp_path: Path) -> None:
    """Inputs of one call are not those of the next one, nor in the folder; results are those of small images."""
    program = linear_program(weights(), example_inputs=(X,))
    program.save(tmp_path / "p")
    saved = {path.name: path.read_bytes() for path in (tmp_path / "p").iterdir()}
    loaded = Program.load(tmp_path / "p")
    for each in (program, loaded):
        image = each.image.hbm
        before = image.copy()
        assert private_copy(image, each.hbm_bytes) is not None
        results = [each.run(x) for x in (X, 2 * X, X)]
        assert torch.equal(results[0], results[2]) and not torch.equal(results[0], results[1])
        changed = np.flatnonzero(image[: before.size] != before)
        (place,) = each.placements_of("input")
        ranges = place.hbm_range(each.target), place.scale_range(each.target)
        assert all(any(low <= n < high for low, high in ranges) for n in changed.tolist())
    assert torch.equal(program.run(X), loaded.run(X))
    assert {path.name: path.read_bytes() for path in (tmp_path / "p").iterdir()} == saved


def test_large_and_small_images_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    small = linear_program(weights(), example_inputs=(X,)).run(X)
    monkeypatch.setattr(mapped_image, "LARGE", 0)
    program = linear_program(weights(), example_inputs=(X,))
    assert torch.equal(program.run(X), small)
