from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest

from pipeline.engine.parallel import map_images
from pipeline.errors import UserError
from pipeline.files import read_json, write_json


def test_one_process_calls_here(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []
    assert list(map_images(lambda item: seen.append(item) or -item, [3, 1, 2], 1, "doing")) == [-3, -1, -2]
    assert seen == [3, 1, 2]
    assert "doing: 3/3 images" in capsys.readouterr().err


@pytest.mark.slow
def test_several_processes_keep_the_order() -> None:
    values = list(range(101))
    assert list(map_images(partial(math.pow, 2.0), values, 2, "doing")) == [2.0**value for value in values]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_mistake_comes_back_whole(tmp_path: Path, processes: int) -> None:
    write_json(tmp_path / "good.json", 1)
    results = map_images(read_json, [tmp_path / "good.json", tmp_path / "bad.json"], processes, "doing")
    assert next(results) == 1
    with pytest.raises(UserError) as caught:
        next(results)
    assert caught.value.file == str(tmp_path / "bad.json")
    assert caught.value.problem == "file not found"


def test_nothing_to_do() -> None:
    assert list(map_images(math.sqrt, [], 1, "doing")) == []
