"""A user's mistake is one line, also from a worker process."""

from __future__ import annotations

import pickle

import pytest

from pipeline.errors import UserError, run_or_exit

MISTAKE = UserError("a.json", "annotation 7", "the box\nhas no width", "correct it")


def test_one_line_with_file_record_problem_and_remedy() -> None:
    assert str(MISTAKE) == "a.json: annotation 7: the box has no width; correct it"
    assert str(UserError("", "", "no disk")) == "no disk"


def test_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(MISTAKE))
    assert (str(copy), copy.remedy) == (str(MISTAKE), "correct it")


@pytest.mark.parametrize(
    ("raised", "status", "line"),
    [(MISTAKE, 2, f"error: {MISTAKE}\n"), (KeyboardInterrupt(), 130, "stopped\n")],
)
def test_exit_status(
    raised: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise raised

    with pytest.raises(SystemExit) as caught:
        run_or_exit(main)
    assert caught.value.code == status
    assert capsys.readouterr().err == line


def test_bugs_keep_their_traceback() -> None:
    def main() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run_or_exit(main)
