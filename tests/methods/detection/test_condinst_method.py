from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torchvision.tv_tensors import Image, Mask

from pipeline import params
from pipeline.errors import UserError
from pipeline.methods.detection.segmenter import Learnt
from pipeline.methods.supervised.condinst import SupervisedCondInst
from pipeline.models.condinst import CondInst
from pipeline.structures import Sample, Target, boxes_xyxy, pad_images


def sample(image_bgr, boxes=(), labels=(), original=None, masks=None):
    image = image_bgr.flip(0)
    size = tuple(image.shape[1:])
    target = Target(
        boxes_xyxy(torch.as_tensor(boxes, dtype=torch.float32), size),
        torch.as_tensor(labels, dtype=torch.int64),
        masks,
    )
    return Sample(Image(image), target, 0, original or size)


def settings(**changes):
    augmentation = params.Augmentation(
        short_sides=(96,),
        max_side=96,
        scale_range=(1.0, 1.0),
        horizontal_flip=0.0,
        vertical_flip=0.0,
        transpose=0.0,
        crop=(),
        pad_value=0,
        colors="as_they_are",
    )
    train = params.Training(
        duration="steps",
        steps=1,
        batch_size=1,
        optimizer="sgd",
        learning_rate=0.1,
        backbone_rate=1.0,
        momentum=0.9,
        betas=(0.9, 0.999),
        weight_decay=0.0,
        norm_weight_decay=0.0,
        schedule="constant",
        milestones=(),
        poly_power=0.9,
        final_rate=0.0,
        warmup_steps=0,
        warmup_start=1.0,
        clip_norm=0.0,
        ema=0.0,
        group_by_aspect=False,
        repeat_threshold=0.0,
        precision="fp32",
        workers=0,
        threads=1,
        checkpoint_every=1,
        log_every=1,
    )
    values = {"kind": "supervised", "mask_weight": 1.0, "train": train, "augmentation": augmentation}
    return params.Supervised(**(values | changes))


@pytest.fixture
def method(tiny_heads, tiny_model, predict_settings):
    return SupervisedCondInst(settings(), tiny_heads, tiny_model, 5, predict_settings, 0)


@pytest.fixture
def two_images(load):
    arrays = load("end_to_end_train")
    samples = [
        sample(arrays[f"image_bgr_{index}"], original=tuple(arrays[f"original_hw_{index}"].tolist()))
        for index in range(2)
    ]
    return samples, [arrays[f"p{level}"] for level in range(3, 8)]


def same_instances(found, expected):
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.boxes, expected.boxes, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("index", [0, 1])
def test_inference_matches_reference(load, close, method, two_images, index):
    arrays = load("end_to_end_inference")
    samples, pyramid = two_images
    method.module.pyramid = [level[index : index + 1] for level in pyramid]
    original = tuple(arrays[f"output_hw_{index}"].tolist())
    assert samples[index].original_size == original
    (found,) = method.predict([samples[index]])
    order = arrays[f"scores_{index}"].argsort(descending=True, stable=True)
    close(found.scores, arrays[f"scores_{index}"][order], rtol=1e-3)
    close(found.boxes, arrays[f"boxes_{index}"][order], rtol=1e-3)
    assert torch.equal(found.labels, arrays[f"classes_{index}"][order])
    pixels = arrays[f"mask_pixels_{index}"][order]
    allowed = (0.005 * pixels).clamp(min=3)
    assert ((found.masks.flatten(1).sum(dim=1) - pixels).abs() <= allowed).all()
    area = original[0] * original[1]
    bits = np.unpackbits(arrays[f"mask_first8_packed_{index}"].numpy(), axis=1)[:, :area].astype(bool)
    for place, bitmap in enumerate(bits):
        mask = found.masks[(order == place).nonzero().item()].flatten().numpy()
        assert (mask != bitmap).sum() <= max(3, 0.005 * bitmap.sum())


def test_prediction_leaves_the_mode_as_it_was(method, two_images):
    samples, method.module.pyramid = two_images
    method.module.train()
    method.predict(samples)
    assert method.module.training
    assert method.module.heads.mask_branch.training


def test_nothing_found_gives_empty_masks(method, two_images):
    samples, method.module.pyramid = two_images
    method.segmenter.inference = method.segmenter.inference.model_copy(update={"score_threshold": 1.0})
    for found, given in zip(method.predict(samples), samples, strict=True):
        assert found.masks.shape == (0, *given.original_size)
        assert len(found) == 0


def test_masks_in_predicted_boxes_are_those_of_the_detections(method, two_images):
    """Given a detection's own box, its location overlaps best, so its mask comes back, cut to the box."""
    samples, method.module.pyramid = two_images
    alone = method.predict(samples)
    found, inside = method.predict_with_boxes(samples, [part.boxes for part in alone])
    for part, same in zip(found, alone, strict=True):
        assert torch.equal(part.scores, same.scores)
        assert torch.equal(part.masks, same.masks)
    for part, masks, given in zip(found, inside, samples, strict=True):
        height, width = given.original_size
        for index, (x1, y1, x2, y2) in enumerate(part.boxes.tolist()):
            if min(x1, y1) <= 0 or x2 >= width or y2 >= height:
                continue  # clipped: another location may fit the cut box better
            box = torch.zeros(height, width, dtype=torch.bool)
            box[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = True
            assert torch.equal(masks[index], part.masks[index] & box)


def test_no_boxes_give_no_masks(method, two_images):
    samples, method.module.pyramid = two_images
    _, masks = method.predict_with_boxes(samples, [torch.zeros(0, 4), torch.tensor([[1.0, 2, 30, 40]])])
    assert masks[0].shape == (0, *samples[0].original_size)
    assert masks[1].shape == (1, *samples[1].original_size)


class FakeBackbone(torch.nn.Module):
    """Strides 4 to 32 without anything learnt but one convolution each."""

    channels = {4: 4, 8: 6, 16: 8, 32: 8}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.convs = torch.nn.ModuleDict(
            {
                str(stride): torch.nn.Conv2d(3, width, stride, stride)
                for stride, width in self.channels.items()
            }
        )

    def forward(self, images):
        return {int(stride): conv(images) for stride, conv in self.convs.items()}


def small_network(tiny_model, **changes):
    values = {
        "mask_branch_norm": "groupnorm",
        "mask_branch_skips": (4,),
        "mask_out_stride": 2,
        "pixel_std": (50.0, 50.0, 50.0),
    } | changes
    model = tiny_model.model_copy(update=values)
    return model, CondInst(model, 3, FakeBackbone())


def test_a_skip_that_the_backbone_lacks_is_a_users_mistake(tiny_model):
    model = tiny_model.model_copy(update={"mask_branch_skips": (2,)})
    with pytest.raises(UserError, match=r"mask_branch_skips \[2\]: the backbone has no map of stride 2; it"):
        CondInst(model, 3, FakeBackbone())


@pytest.mark.parametrize("skips", [(8,), (16,), (3,), (4, 4)])
def test_skips_that_do_not_divide_are_refused_with_the_params(tiny_model, skips):
    with pytest.raises(ValidationError, match=r"mask_branch_skips must divide"):
        type(tiny_model).model_validate(
            {**tiny_model.model_dump(), "backbone": "x", "mask_branch_skips": skips}
        )


def masked_sample(seed, height, width, objects):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
    masks = torch.zeros(objects, height, width, dtype=torch.bool)
    boxes = []
    for index in range(objects):
        x, y = 5 + 20 * index, 8 + 4 * index
        masks[index, y : y + 30, x : x + 24] = True
        boxes.append([x, y, x + 24, y + 30])
    return sample(image, boxes, [index % 3 for index in range(objects)], masks=Mask(masks))


def test_padding_is_zero_after_normalisation(tiny_model):
    _, network = small_network(tiny_model)
    tall, wide = torch.rand(3, 64, 32) * 255, torch.rand(3, 32, 64) * 255
    padded = torch.zeros(2, 3, 64, 64)
    padded[0, :, :, :32], padded[1, :, :32] = tall, wide
    together = network.normalise(padded, [(64, 32), (32, 64)])
    alone = network.normalise(tall[None], [(64, 32)])
    assert torch.equal(together[0, :, :, :32], alone[0])
    assert float(together[0, :, :, 32:].abs().max()) == 0
    assert float(together[1, :, 32:].abs().max()) == 0


def test_pixels_are_normalised_in_the_format_of_the_mean(tiny_model):
    _, network = small_network(tiny_model)
    image = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    expected = [(30 - 103.53) / 50, (20 - 116.28) / 50, (10 - 123.675) / 50]
    assert network.normalise(image, [(32, 32)])[0, :, 5, 5].tolist() == pytest.approx(expected)


def test_the_mask_loss_is_the_weighted_mean_of_dice_over_proposals(tiny_model, predict_settings):
    model, network = small_network(tiny_model)  # its logits have stride 2
    method = SupervisedCondInst(settings(mask_weight=3.0), network, model, 3, predict_settings, 0)
    batch = [masked_sample(1, 64, 90, 2), masked_sample(2, 70, 64, 1)]
    padded = pad_images([item.image for item in batch], 32)
    height, width = (side // 2 for side in padded.images.shape[-2:])
    boxes = torch.tensor([0, 1, 1, 2])
    images = torch.tensor([0, 0, 0, 1])
    logits = torch.randn(4, height, width, generator=torch.Generator().manual_seed(0))
    terms = []
    for logit, box in zip(logits.double().sigmoid().numpy(), boxes.tolist(), strict=True):
        item, index = (batch[0], box) if box < 2 else (batch[1], 0)
        inside = item.target.masks[index, 1::2, 1::2].numpy()
        mask = np.zeros((height, width))
        mask[: inside.shape[0], : inside.shape[1]] = inside
        terms.append(1 - 2 * (logit * mask).sum() / ((logit**2).sum() + mask.sum() + 1e-5))
    learnt = Learnt({}, logits, boxes, images, stride=2)
    loss = method.mask_losses(learnt, batch, padded, 0)["loss_mask"]
    assert float(loss) == pytest.approx(3 * np.mean(terms), rel=1e-5)


def test_training_lowers_the_losses(tiny_model, predict_settings):
    torch.manual_seed(0)
    model, network = small_network(tiny_model)
    method = SupervisedCondInst(settings(), network, model, 3, predict_settings, 0)
    batch = [masked_sample(1, 64, 90, 2), masked_sample(2, 70, 64, 1), masked_sample(3, 64, 64, 0)]
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    totals = []
    for step in range(12):
        losses = method.losses(batch, step)
        assert set(losses) == {"loss_fcos_cls", "loss_fcos_loc", "loss_fcos_ctr", "loss_mask"}
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.8 * totals[0]


def test_batch_without_objects_reaches_every_parameter(tiny_model, predict_settings):
    model, network = small_network(tiny_model)
    method = SupervisedCondInst(settings(), network, model, 3, predict_settings, 0)
    losses = method.losses([masked_sample(3, 64, 64, 0), masked_sample(4, 40, 64, 0)], 0)
    torch.stack(list(losses.values())).sum().backward()
    assert float(losses["loss_mask"].detach()) == float(losses["loss_fcos_loc"].detach()) == 0
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_random_proposals_repeat_with_the_step(tiny_model, predict_settings):
    model, network = small_network(tiny_model, max_proposals=5, topk_per_image=-1)
    method = SupervisedCondInst(settings(), network, model, 3, predict_settings, 0)
    batch = [masked_sample(1, 64, 90, 2), masked_sample(2, 64, 64, 1)]
    first, again, other = (float(method.losses(batch, step)["loss_mask"].detach()) for step in (3, 3, 4))
    assert first == again != other


def test_bfloat16_features_give_float32_losses(tiny_model, predict_settings):
    model, network = small_network(tiny_model)
    method = SupervisedCondInst(settings(), network, model, 3, predict_settings, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = method.losses([masked_sample(1, 64, 90, 2), masked_sample(2, 64, 64, 1)], 0)
    assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses.values())


def test_missing_masks_are_named(method, two_images):
    samples, method.module.pyramid = two_images
    with pytest.raises(ValueError, match="needs masks"):
        method.losses(samples, 0)
