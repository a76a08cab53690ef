"""A training of BoxTeacher by all processes of torchrun."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from pipeline.distributed import gather_objects, is_main
from pipeline.engine.loop import fit
from tests.box_teacher_settings import make_method, make_views, settings

ROOT = Path(__file__).parents[3]


def main(out: Path) -> None:
    """Writes the sums of both networks' weights in each process, what was kept, and the history."""
    taught = settings(ROOT, train={"batch_size": 4, "log_every": 1})
    method = make_method(ROOT, taught)
    views = make_views(out / "data", taught)
    result = fit(method, views, taught.train, seed=3, checkpoint=out / "checkpoint", key="k", name="bt")
    networks = (method.networks.student, method.networks.teacher)
    sums = [[float(value.double().sum()) for value in part.state_dict().values()] for part in networks]
    found = gather_objects(sums)
    if is_main():
        written = {"sums": found, "records": method.records(), "history": result.history}
        (out / "written.json").write_text(json.dumps(written))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
