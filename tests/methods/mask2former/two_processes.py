"""The losses of one process of two, under torchrun: 3 objects here, 1 there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from pipeline.methods.mask2former.criterion import mask2former_losses
from tests.mask2former_batches import drawn
from tests.mask2former_settings import PUBLISHED_LOSSES

if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    losses = mask2former_losses(
        *drawn([3 if dist.get_rank() == 0 else 1]), PUBLISHED_LOSSES.model_copy(update={"points": 64})
    )
    values = {name: float(loss) for name, loss in losses.items()}
    Path(sys.argv[1], f"{dist.get_rank()}.json").write_text(json.dumps(values))
    dist.destroy_process_group()
