"""Fix the first stages of a backbone, whatever its modules are called."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from pipeline.errors import UserError
from pipeline.models.frozen_batchnorm import BATCH_NORMS, FrozenBatchNorm


def freeze_stages(
    network: nn.Module, ends: dict[int, str], name: str, frozen_stages: int, *, statistics: bool = True
) -> list[nn.Module]:
    """Fix the parameters and, unless told otherwise, the batch statistics of all that leads to a map.

    ends: stride -> name of the module in `network` that yields the map; name: of the backbone, for
    messages; frozen_stages: 1 = the stem, n >= 2 = what leads to the map of stride 2**n.  With statistics
    that are not fixed, batch norms go on normalising by the batch and following it.  Returns the modules.

    Raises UserError when the network has no map of that stride.
    """
    modules = list(_frozen_modules(network, ends, name, frozen_stages))
    for _, module in modules:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = False
    for path, module in modules:
        if statistics and isinstance(module, BATCH_NORMS):
            network.set_submodule(path, FrozenBatchNorm(module))
    return [module for _, module in modules]


def _frozen_modules(
    network: nn.Module, ends: dict[int, str], name: str, frozen_stages: int
) -> Iterator[tuple[str, nn.Module]]:
    """Modules in the order they are defined, which is the order they run in, up to the last frozen one."""
    stem_only = frozen_stages == 1 and 2 not in ends  # then the stem leads to stride 4 at once
    end = ends.get(4 if stem_only else 2**frozen_stages)
    if end is None:
        raise UserError(
            "params.yaml",
            name,
            f"frozen_stages {frozen_stages} is not possible: its maps have the strides {sorted(ends)}",
            "choose a smaller frozen_stages",
        )
    reached = False
    for path, module in network.named_modules():
        inside = f"{_flat(path)}_".startswith(f"{_flat(end)}_")
        reached = reached or inside
        if reached and (stem_only or not inside):
            return
        yield path, module
    if not reached:
        raise UserError(
            "params.yaml",
            name,
            f"its stages cannot be frozen: there is no module {end}",
            "set frozen_stages to 0",
        )


def _flat(path: str) -> str:
    """A module path in which timm's flattened children (`stages_0`) and their origin (`stages.0`) agree."""
    return path.replace(".", "_")
