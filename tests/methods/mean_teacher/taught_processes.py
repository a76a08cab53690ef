"""A training of a student and its teacher by one process, or by two under torchrun."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from pipeline.distributed import is_main
from pipeline.engine.loop import fit
from pipeline.methods.mask2former import criterion
from pipeline.methods.mask2former.points import Points
from pipeline.params import QueryLosses
from pipeline.weights import save_weights
from tests.taught_settings import make_method, make_pairs, settings

ROOT = Path(__file__).parents[3]


def same_points(layers: int, images: int, masks: int, settings: QueryLosses, device: torch.device) -> Points:
    """The same points for every image and mask: two processes would otherwise draw others than one does."""
    drawn = torch.rand(3, settings.points, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    uniform = settings.points - int(settings.importance * settings.points)
    return Points(
        drawn[0].expand(layers, images, -1, -1),
        drawn[1].expand(layers, masks, -1, -1),
        drawn[2, :uniform].expand(layers, masks, -1, -1),
    )


def train(out: Path, kind: str) -> None:
    """Without a lower weight of queries that see nothing, the class loss of a batch is a plain mean.

    SGD, since Adam's first steps make much of gradients that are but rounding.  Queries see
    something at first, since fewer pseudo-masks than processes count as one in each of them, as published.
    """
    recipe = {"batch_size": 4, "log_every": 1, "optimizer": "sgd", "learning_rate": 0.003}
    taught = settings(ROOT, kind, train=recipe)
    method = make_method(ROOT, taught)
    method.query_losses = method.query_losses.model_copy(update={"no_object_weight": 1.0})
    with torch.no_grad():
        for network in (method.networks.student, method.networks.teacher):
            network.class_predictor.bias[-1] -= 3.0
    pairs = make_pairs(out / f"{kind}-data", taught, taught_from=method.taught_from)
    result = fit(method, pairs, taught.train, seed=3, checkpoint=out / kind, key="k", name=kind)
    if is_main():
        save_weights(method.module, out / f"{kind}.safetensors")
        (out / f"{kind}.json").write_text(json.dumps(result.history))


if __name__ == "__main__":
    torch.set_num_threads(1)
    criterion.draw_points = same_points
    for name in ("mean_teacher", "guided_distillation"):
        train(Path(sys.argv[1]), name)
