from __future__ import annotations

import pytest
import torch

from pipeline.models.mask_branch import MaskBranch


def reference_branch(state):
    branch = MaskBranch(10, 12, 6, levels=3, convs=2, norm="batchnorm", stride=8, skips={})
    branch.load_state_dict({key.replace("tower.2.", "project."): value for key, value in state.items()})
    return branch


@pytest.mark.parametrize("case", ["eval", "train"])
def test_matches_reference(load, close, case):
    arrays = load("mask_branch")
    prefix = f"{case}.state."
    branch = reference_branch({k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)})
    branch.train(case == "train")
    pyramid = [arrays[f"{case}.p{level}"].requires_grad_() for level in (3, 4, 5)]
    out = branch(pyramid, {})
    close(out, arrays[f"{case}.out"])
    (out * arrays[f"{case}.cot"]).sum().backward()
    for level, maps in zip((3, 4, 5), pyramid, strict=True):
        close(maps.grad, arrays[f"{case}.grad_p{level}"], rtol=2e-3, share=2e-5)
    for name, parameter in branch.named_parameters():
        name = name.replace("project.", "tower.2.")
        close(parameter.grad, arrays[f"{case}.grad_param.{name}"], rtol=2e-3, share=2e-5)


def test_skips_refine_to_their_stride():
    branch = MaskBranch(6, 16, 5, levels=2, convs=1, norm="groupnorm", stride=8, skips={2: 3, 4: 7})
    features = {2: torch.randn(2, 3, 16, 24), 4: torch.randn(2, 7, 8, 12)}
    pyramid = [torch.randn(2, 6, 4, 6), torch.randn(2, 6, 2, 3)]
    out = branch(pyramid, features)
    assert out.shape == (2, 5, 16, 24)
    assert branch.stride == 2
    changed = features[4].clone()
    changed[0, :, 3, 3] += 1
    assert not torch.equal(branch(pyramid, features | {4: changed})[0], out[0])


def test_levels_that_round_up_are_cut():
    branch = MaskBranch(6, 8, 5, levels=3, convs=0, norm="groupnorm", stride=8, skips={})
    assert branch([torch.randn(1, 6, 5, 7), torch.randn(1, 6, 3, 4), torch.randn(1, 6, 2, 2)], {}).shape == (
        1,
        5,
        5,
        7,
    )


def test_skip_coarser_than_the_pyramid_is_refused():
    with pytest.raises(ValueError, match="divide 8"):
        MaskBranch(6, 8, 5, levels=1, convs=0, norm="groupnorm", stride=8, skips={16: 4})
