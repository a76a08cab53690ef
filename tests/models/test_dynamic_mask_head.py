from __future__ import annotations

import pytest
import torch

from pipeline.models.dynamic_mask_head import dynamic_mask_logits, parameter_count
from pipeline.models.layers import grid_points
from tests.condinst_settings import published_condinst


def head_inputs(count=4, images=2, features=16, size=(6, 7)):
    params = published_condinst(mask_features=features)
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(images, features, *size, generator=generator),
        torch.randn(count, parameter_count(params), generator=generator),
        torch.rand(count, 2, generator=generator) * 50,
        torch.full((count,), 64.0),
        torch.arange(count) % images,
        params,
    )


@pytest.mark.parametrize("case", ["default", "out8", "condinst8ch", "norel"])
def test_matches_reference(load, close, case):
    arrays = load("dynamic_mask_head", case)
    params = published_condinst(
        mask_features=arrays["mask_feats"].shape[1],
        relative_coordinates=case != "norel",
        mask_out_stride=int(arrays["mask_out_stride"]),
    )
    features, parameters = arrays["mask_feats"].requires_grad_(), arrays["params"].requires_grad_()
    scales = arrays["sizes_of_interest"][arrays["fpn_levels"]]
    logits = dynamic_mask_logits(features, parameters, arrays["locations"], scales, arrays["im_inds"], params)
    close(logits[:, None], arrays["logits"])
    (logits[:, None] * arrays["cot"]).sum().backward()
    close(features.grad, arrays["grad_mask_feats"], rtol=1e-3, share=2e-5)
    close(parameters.grad, arrays["grad_params"], rtol=1e-3, share=2e-5)


def test_published_settings_have_233_parameters():
    assert parameter_count(published_condinst()) == 233
    assert parameter_count(published_condinst(mask_features=8)) == 169


def test_order_of_objects_does_not_matter():
    features, parameters, points, scales, images, params = head_inputs()
    logits = dynamic_mask_logits(features, parameters, points, scales, images, params)
    order = torch.tensor([3, 1, 0, 2])
    shuffled = dynamic_mask_logits(
        features, parameters[order], points[order], scales[order], images[order], params
    )
    torch.testing.assert_close(shuffled, logits[order])


def test_no_objects_stay_in_the_graph():
    features, parameters, points, scales, images, params = head_inputs(count=0)
    features.requires_grad_()
    parameters.requires_grad_()
    logits = dynamic_mask_logits(features, parameters, points, scales, images, params)
    assert logits.shape == (0, 12, 14)
    logits.sum().backward()
    assert float(features.grad.abs().sum()) == 0
    assert parameters.grad is not None


def test_autocast_does_not_reach_the_head():
    inputs = head_inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = dynamic_mask_logits(*inputs)
    assert torch.equal(inside, dynamic_mask_logits(*inputs))


def test_far_points_keep_precision():
    """Folded coordinates against the direct definition in float64, on a map of full size."""
    features, parameters, points, _, images, _ = head_inputs(count=3, size=(100, 168))
    points, scales = points * 25, torch.full((3,), 64.0)
    logits = dynamic_mask_logits(
        features, parameters, points, scales, images, published_condinst(mask_out_stride=8)
    )
    grid = grid_points(100, 168, 8).double()
    weights = parameters.double()
    for index in range(3):
        relative = (points[index].double() - grid) / 64
        hidden = torch.cat((relative, features[images[index]].double().flatten(1).T), dim=1)
        start, ends = 0, [(18, 8), (8, 8), (8, 1)]
        biases = weights[index, -17:].split([8, 8, 1])
        for layer, (inputs, outputs) in enumerate(ends):
            block = weights[index, start : start + inputs * outputs].view(outputs, inputs)
            hidden = hidden @ block.T + biases[layer]
            hidden = hidden.relu() if layer < 2 else hidden
            start += inputs * outputs
        torch.testing.assert_close(logits[index].flatten().double(), hidden[:, 0], rtol=1e-4, atol=1e-3)
