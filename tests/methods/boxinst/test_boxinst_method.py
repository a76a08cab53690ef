"""The method as a whole: published losses and gradients, and batches out of the ordinary."""

from __future__ import annotations

import pytest
import torch
from torchvision.tv_tensors import Image

from pipeline.methods.box_supervision.losses import pairwise_loss, projection_loss, warmup
from pipeline.methods.box_supervision.targets import image_pairs, similar_pairs
from pipeline.methods.boxinst.method import BoxInst
from pipeline.methods.build import METHODS, Parts
from pipeline.models.dynamic_mask_head import dynamic_mask_logits
from pipeline.structures import Sample, Target, boxes_xyxy
from tests.condinst_vectors import gradients_by_reference_name

LOSSES = ["loss_fcos_cls", "loss_fcos_loc", "loss_fcos_ctr", "loss_prj", "loss_pairwise"]


@pytest.mark.parametrize("case", ["batch2", "one", "zero", "late", "nopair"])
def test_losses_through_the_mask_head_match_reference(load, close, tiny_model, published, case):
    arrays = load("mask_losses", case)
    features, parameters = arrays["mask_feats"].requires_grad_(), arrays["params"].requires_grad_()
    model = tiny_model.model_copy(update={"mask_features": 16, "mask_head_channels": 8})
    scales = torch.tensor(model.sizes_of_interest)[arrays["fpn_levels"]]
    logits = dynamic_mask_logits(features, parameters, arrays["locations"], scales, arrays["im_inds"], model)
    masks = arrays["gt_bitmasks"][arrays["gt_inds"]] > 0
    pairs = similar_pairs(arrays["color_similarity_per_image"], published.color_threshold)
    pairwise, _ = pairwise_loss(logits, masks, pairs, arrays["im_inds"], dilation=published.pairwise_dilation)
    losses = {
        "loss_prj": projection_loss(logits, masks),
        "loss_pairwise": pairwise * warmup(int(arrays["iter_seen_by_loss"]) - 1, published.pairwise_warmup),
    }
    for name, loss in losses.items():
        close(loss, arrays[name])
        slopes = torch.autograd.grad(loss, (features, parameters), retain_graph=True, allow_unused=True)
        for source, slope in zip(("mask_feats", "params"), slopes, strict=True):
            expected = arrays[f"grad_{source}.{name}"]
            close(torch.zeros_like(expected) if slope is None else slope, expected, rtol=1e-3, share=2e-5)


@pytest.fixture
def batch(load) -> list[Sample]:
    """The two images of end_to_end_train."""
    arrays = load("end_to_end_train")
    samples = []
    for index in range(2):
        image = Image(arrays[f"image_bgr_{index}"].flip(0))
        target = Target(
            boxes_xyxy(arrays[f"boxes_{index}"], tuple(image.shape[1:])), arrays[f"classes_{index}"]
        )
        samples.append(Sample(image, target, index, tuple(arrays[f"original_hw_{index}"].tolist())))
    return samples


@pytest.fixture
def build(load, tiny_heads, tiny_model, published, predict_settings):
    """BoxInst on the model of end_to_end_weights, with the published settings but for `changes`."""
    arrays = load("end_to_end_train")
    tiny_heads.pyramid = [arrays[f"p{level}"].requires_grad_() for level in range(3, 8)]

    def make(**changes: object) -> BoxInst:
        settings = published.model_copy(update=changes)
        return METHODS["boxinst", "condinst"](Parts(settings, tiny_model, tiny_heads, 5, predict_settings, 0))

    return make


def final_step(load) -> int:
    return int(load("end_to_end_train")["iter_seen_by_loss"]) - 1


def test_training_losses_match_reference(load, close, build, batch):
    arrays, losses = load("end_to_end_train"), build().losses(batch, final_step(load))
    for name in LOSSES:
        close(losses[name], arrays[name], rtol=1e-3)
    assert float(losses["metric_pairwise_warmup"]) == 0.25
    assert 0 < float(losses["metric_pair_share"]) < 1


def test_training_gradients_match_reference(load, close, build, batch):
    arrays, method = load("end_to_end_train_grads"), build()
    losses = method.losses(batch, final_step(load))
    total = sum(losses[name] for name in LOSSES)
    close(total, arrays["total_loss"], rtol=1e-3)
    total.backward()
    for level, maps in enumerate(method.module.pyramid, start=3):
        close(maps.grad, arrays[f"grad_p{level}"], rtol=5e-3, share=1e-4)
    ours = gradients_by_reference_name(method.module.heads)
    stored = [key for key in arrays if key.startswith("grad.")]
    assert len(stored) > 30
    for key in stored:
        if key.endswith("tower.0.bias") and "mask_branch" not in key:
            # A norm with one channel per group follows, which no bias can pass: the stored gradient, like
            # ours, is the rounding error of a zero.
            assert float(arrays[key].abs().max()) < 1e-6 > float(ours[key.removeprefix("grad.")].abs().max())
        else:
            close(ours[key.removeprefix("grad.")], arrays[key], rtol=5e-3, share=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"projection_weight": 1.01},
        {"pairwise_weight": 1.01},
        {"pairwise_size": 5},
        {"pairwise_dilation": 1},
        {"color_threshold": 0.25},
        {"pairwise_warmup": 9900},
        {"bottom_pixels_removed": 0},
        {"topk_per_image": 16},
    ],
)
def test_every_setting_matters(load, close, build, batch, changes):
    """Parity would not hold with any setting off its published value."""
    arrays, losses = load("end_to_end_train"), build(**changes).losses(batch, final_step(load))
    ours, stored = (torch.stack([source[name].detach() for name in LOSSES]) for source in (losses, arrays))
    assert ((ours - stored).abs() > 1e-3 * stored).any()


def test_images_without_boxes(build, batch):
    """No box in one image, then in both: all losses are finite and the mask losses stay in the graph."""
    method = build()
    empty = Target(boxes_xyxy(torch.zeros(0, 4), (77, 135)), torch.zeros(0, dtype=torch.int64))
    batch[1] = Sample(batch[1].image, empty, 1, batch[1].original_size)
    assert method.losses(batch, 0)["loss_pairwise"].item() > 0
    batch[0] = Sample(batch[0].image, empty, 0, batch[0].original_size)
    losses = method.losses(batch, 0)
    assert losses["loss_prj"].item() == losses["loss_pairwise"].item() == 0
    assert losses.pop("metric_pair_share").isnan()
    (losses["loss_prj"] + losses["loss_pairwise"]).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert float(method.module.heads.mask_branch.project.weight.grad.abs().max()) == 0


def test_projection_alone_skips_the_pairs_and_keeps_the_name(build, batch, monkeypatch):
    method = build(pairwise_weight=0.0)
    monkeypatch.setattr("pipeline.methods.box_supervision.batch.image_pairs", None)
    losses = method.losses(batch, 0)
    assert set(losses) == set(LOSSES)
    assert losses["loss_pairwise"].item() == 0


def test_centres_are_those_of_the_rasterised_boxes(build, batch):
    """The box down to the image's last row paints one row of the padding."""
    centers = build().segmenter.centers
    assert centers(batch[0].target, (128, 160))[0].tolist() == [
        (77 + 140) / 2,
        (40 + 100) / 2,
    ]
    assert centers(batch[0].target, (100, 140))[0].tolist() == [
        (77 + 139) / 2,
        (40 + 99) / 2,
    ]


def test_out_stride_of_the_demo(build, batch, tiny_model):
    """Finer masks: pairs and targets follow mask_out_stride."""
    method = build()
    method.segmenter.model = tiny_model.model_copy(update={"mask_out_stride": 2})
    losses = method.losses(batch, 0)
    assert all(torch.isfinite(loss) for loss in losses.values())
    _, padded = method._load(batch)
    assert image_pairs(batch, padded, 2, method.settings).shape == (2, 8, 64, 80)


def test_a_few_steps_lower_the_loss(build, batch):
    method = build()
    optimizer = torch.optim.SGD(method.module.parameters(), lr=1e-3)
    totals = []
    for _ in range(4):
        losses = method.losses(batch, 9999)
        total = sum(losses[name] for name in LOSSES)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < totals[0]
