"""Our Mask R-CNN is torchvision's, but for how images come in: equal weights, equal losses and detections."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign, box_iou, roi_align

from pipeline.errors import UserError
from pipeline.methods.supervised.mask_rcnn import mask_loss
from pipeline.models.mask_rcnn import MaskRCNN, build_mask_rcnn
from pipeline.params import NmsThreshold, Predict
from tests.labeling_settings import RELEASED
from tests.mask_rcnn_settings import small_mask_rcnn

CLASSES = 3
SIZES = [(96, 128), (64, 96)]
PREDICT = Predict(
    short_side=96,
    max_side=128,
    score_threshold=0.1,
    nms_threshold=NmsThreshold(condinst=1.0, mask_rcnn=0.5, detectron2=1.0),
    pre_nms_topk=100,
    detections_per_image=20,
    network="student",
    batch_size=2,
    threads=1,
    labeling=RELEASED,
)


class Levels(nn.Module):
    """Our backbone and pyramid as torchvision wants a backbone."""

    def __init__(self, network: MaskRCNN) -> None:
        super().__init__()
        self.network, self.out_channels = network, network.fpn.lateral[0].out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        levels = self.network.fpn(self.network.backbone(images))
        return dict(zip("012", levels, strict=True))


def torchvisions(network: MaskRCNN) -> nn.Module:
    """torchvision's own network, with the weights of ours, from its own defaults where ours are published."""
    model = small_mask_rcnn()
    channels, names = model.fpn_channels, ["0", "1", "2"]
    theirs = TorchvisionMaskRCNN(
        Levels(network),
        min_size=96,
        max_size=128,
        image_mean=[value / 255 for value in model.pixel_mean],
        image_std=[value / 255 for value in model.pixel_std],
        rpn_anchor_generator=AnchorGenerator(
            tuple((size,) for size in model.anchor_sizes), (model.anchor_ratios,) * 3
        ),
        rpn_pre_nms_top_n_train=model.rpn_pre_nms,
        rpn_post_nms_top_n_train=model.rpn_post_nms,
        rpn_pre_nms_top_n_test=PREDICT.pre_nms_topk,
        rpn_post_nms_top_n_test=PREDICT.pre_nms_topk,
        rpn_batch_size_per_image=model.rpn_batch,
        box_batch_size_per_image=model.roi_batch,
        box_score_thresh=PREDICT.score_threshold,
        box_nms_thresh=PREDICT.nms_threshold.mask_rcnn,
        box_detections_per_img=PREDICT.detections_per_image,
        box_roi_pool=MultiScaleRoIAlign(names, model.box_pool, 2),
        box_head=TwoMLPHead(channels * model.box_pool**2, model.box_head_channels),
        box_predictor=FastRCNNPredictor(model.box_head_channels, CLASSES + 1),
        mask_roi_pool=MultiScaleRoIAlign(names, model.mask_pool, 2),
        mask_head=MaskRCNNHeads(channels, (model.mask_head_channels,), 1),
        mask_predictor=MaskRCNNPredictor(model.mask_head_channels, model.mask_head_channels, CLASSES + 1),
    )
    theirs.rpn.load_state_dict(network.rpn.state_dict())
    theirs.roi_heads.load_state_dict(network.roi_heads.state_dict(), strict=False)
    theirs.roi_heads.mask_head.load_state_dict(network.mask_head.convs.state_dict())
    theirs.roi_heads.mask_predictor.load_state_dict(network.mask_head.predictor.state_dict())
    # Its resizing rounds sizes; these images have theirs already.
    theirs.transform.resize = lambda image, target: (image, target)
    return theirs


@pytest.fixture
def network() -> MaskRCNN:
    torch.manual_seed(0)
    network = build_mask_rcnn(small_mask_rcnn(), CLASSES, PREDICT)
    # As drawn, all classes are about as likely and nothing is found.
    nn.init.normal_(network.roi_heads.box_predictor.cls_score.weight, std=0.5)
    return network


def images_and_targets() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    draw = torch.Generator().manual_seed(1)
    images = [torch.randint(0, 256, (3, *size), generator=draw).float() for size in SIZES]
    boxes = [torch.tensor([[10.0, 12, 50, 60], [40, 20, 100, 90]]), torch.tensor([[5.0, 6, 40, 60]])]
    labels = [torch.tensor([0, 2]), torch.tensor([1])]
    targets = []
    for size, boxes_, labels_ in zip(SIZES, boxes, labels, strict=True):
        masks = torch.rand(len(boxes_), *size, generator=draw) > 0.5
        targets.append({"boxes": boxes_, "labels": labels_, "masks": masks})
    return images, targets


def padded(images: list[Tensor]) -> Tensor:
    batch = torch.zeros(len(images), 3, 96, 128)
    for slot, image in zip(batch, images, strict=True):
        slot[:, : image.shape[1], : image.shape[2]] = image
    return batch


def test_losses_are_torchvisions(network: MaskRCNN) -> None:
    theirs = torchvisions(network).train()
    images, targets = images_and_targets()
    their_targets = [{**target, "labels": target["labels"] + 1} for target in targets]
    torch.manual_seed(7)
    expected = theirs([image / 255 for image in images], their_targets)
    torch.manual_seed(7)
    losses, regions = network(padded(images), SIZES, targets)
    found = losses | {"loss_mask": mask_loss(regions, [target["masks"] for target in targets])}
    names = {
        "loss_objectness": "loss_objectness",
        "loss_rpn_box_reg": "loss_rpn_box",
        "loss_classifier": "loss_class",
        "loss_box_reg": "loss_box",
        "loss_mask": "loss_mask",
    }
    assert set(found) == set(names.values())
    for their_name, name in names.items():
        assert float(found[name].detach()) > 0
        torch.testing.assert_close(found[name], expected[their_name], rtol=1e-5, atol=1e-6)


def test_detections_are_torchvisions(network: MaskRCNN) -> None:
    theirs = torchvisions(network).eval()
    network.eval()
    images, _ = images_and_targets()
    with torch.no_grad():
        expected: list[dict[str, Tensor]] = theirs([image / 255 for image in images])
        batch = padded(images)
        found = network.detect(network.pyramid(batch, SIZES), batch, SIZES)
    for ours, others in zip(found, expected, strict=True):
        assert len(ours.boxes) > 3
        assert torch.equal(ours.labels, others["labels"] - 1)
        torch.testing.assert_close(ours.boxes, others["boxes"], rtol=1e-5, atol=1e-3)
        torch.testing.assert_close(ours.scores, others["scores"], rtol=1e-4, atol=1e-5)


def test_masks_in_detected_boxes_are_those_of_the_detections(network: MaskRCNN) -> None:
    """Where the box head finds the class of the detection most likely in the detected box itself."""
    network.eval()
    images, _ = images_and_targets()
    batch = padded(images)
    with torch.no_grad():
        pyramid = network.pyramid(batch, SIZES)
        found = network.detect(pyramid, batch, SIZES)
        masks, areas = network.masks_in_boxes(pyramid, [part.boxes for part in found], SIZES)
    same = [(a == b).all(dim=(1, 2)) for a, b in zip(masks, [part.masks for part in found], strict=True)]
    assert sum(int(part.sum()) for part in same) > 5
    assert all(torch.equal(area, part.boxes) for area, part in zip(areas, found, strict=True))


def test_a_small_image_in_much_padding_is_pooled_at_its_place(network: MaskRCNN) -> None:
    """Not as torchvision guesses the scale of a map: 16 cells for 33 pixels look like stride 2."""
    pyramid = {str(s): torch.rand(1, 16, 64 // s, 64 // s) for s in (4, 8, 16)}
    box = [torch.tensor([[4.0, 5, 28, 30]])]
    pooled = network.roi_heads.box_roi_pool(pyramid, box, [(33, 33)])
    torch.testing.assert_close(pooled, roi_align(pyramid["4"], box, 5, 1 / 4, 2))


def test_padding_fits_backbone_and_pyramid() -> None:
    def divisor(**changes: Any) -> int:
        return build_mask_rcnn(small_mask_rcnn(**changes), CLASSES, PREDICT).padding_divisor

    assert divisor() == 16
    assert divisor(fpn_strides=(4, 8, 16, 32, 64), anchor_sizes=(8, 16, 32, 64, 128)) == 64


def test_levels_beyond_the_backbone_have_proposals_but_pool_nothing() -> None:
    model = small_mask_rcnn(fpn_strides=(4, 8, 16, 32), anchor_sizes=(8, 16, 32, 64))
    network = build_mask_rcnn(model, CLASSES, PREDICT)
    assert network.roi_heads.box_roi_pool.featmap_names == ["4", "8", "16"]
    assert len(network.rpn.anchor_generator.sizes) == 4
    images, targets = images_and_targets()
    assert all(torch.isfinite(loss) for loss in network(padded(images), SIZES, targets)[0].values())


def test_half_precision_leaves_boxes_and_losses_in_float32(network: MaskRCNN) -> None:
    images, targets = images_and_targets()
    torch.manual_seed(7)
    whole, _ = network(padded(images), SIZES, targets)
    torch.manual_seed(7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses, regions = network(padded(images), SIZES, targets)
        pyramid = network.pyramid(padded(images), SIZES)
        heads = network.rpn.head(list(pyramid.values()))
    assert all(level.dtype == torch.float32 for part in heads for level in part)
    assert regions.logits.dtype == torch.float32
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, whole[name], rtol=0.1, atol=0.02)


def test_a_backbone_without_the_finest_stride_is_named() -> None:
    with pytest.raises(UserError, match="backbone"):
        build_mask_rcnn(small_mask_rcnn(fpn_strides=(64, 128, 256)), CLASSES, PREDICT)


def test_regions_are_drawn_near_the_boxes_that_they_name(network: MaskRCNN) -> None:
    images, targets = images_and_targets()
    _, regions = network(padded(images), SIZES, targets)
    boxes = torch.cat([target["boxes"] for target in targets])
    assert regions.images.tolist() == sorted(regions.images.tolist())
    assert set(regions.boxes.tolist()) == {0, 1, 2}
    assert torch.equal(regions.images, torch.tensor([0, 0, 1])[regions.boxes])
    assert (box_iou(boxes[regions.boxes], regions.areas).diagonal() >= 0.5).all()


def test_a_region_has_the_mask_and_the_probability_of_its_boxs_class(network: MaskRCNN) -> None:
    images, targets = images_and_targets()
    _, regions = network(padded(images), SIZES, targets)
    with torch.no_grad():
        pyramid = network.pyramid(padded(images), SIZES)
        rois = [regions.areas[regions.images == index] for index in range(2)]
        heads = network.roi_heads
        logits, _ = heads.box_predictor(heads.box_head(heads.box_roi_pool(pyramid, rois, SIZES)))
        masks = network.mask_head.predictor(
            network.mask_head.convs(network.mask_head.pool(pyramid, rois, SIZES))
        )
    labels = torch.cat([target["labels"] for target in targets])[regions.boxes]
    for region, label in enumerate(labels):
        torch.testing.assert_close(regions.logits[region], masks[region, 1 + label])
        torch.testing.assert_close(regions.quality[region], logits[region].softmax(dim=0)[1 + label])
    assert not regions.quality.requires_grad


def test_masks_cover_their_boxes_with_a_margin() -> None:
    """A margin of 1 is half a side at every end; without one, areas are the boxes."""
    torch.manual_seed(0)
    network = build_mask_rcnn(small_mask_rcnn(mask_margin=1.0), CLASSES, PREDICT)
    images, targets = images_and_targets()
    batch = padded(images)
    _, regions = network(batch, SIZES, targets)
    boxes = torch.cat([target["boxes"] for target in targets])[regions.boxes]
    centres, sides = (
        (regions.areas[:, :2] + regions.areas[:, 2:]) / 2,
        regions.areas[:, 2:] - regions.areas[:, :2],
    )
    rois = torch.cat((centres - sides / 4, centres + sides / 4), dim=1)
    assert (box_iou(boxes, rois).diagonal() >= 0.5).all()
    network.eval()
    given = [torch.tensor([[10.0, 12, 50, 60]]), torch.tensor([[0.0, 6, 40, 56]])]
    with torch.no_grad():
        masks, areas = network.masks_in_boxes(network.pyramid(batch, SIZES), given, SIZES)
        wide = [torch.tensor([[-10.0, -12, 70, 84]]), torch.tensor([[-20.0, -19, 60, 81]])]
        assert all(torch.equal(area, expected) for area, expected in zip(areas, wide, strict=True))
        network.mask_margin = 0.0
        plain, _ = network.masks_in_boxes(network.pyramid(batch, SIZES), given, SIZES)
    assert masks[0].shape == plain[0].shape == (1, 14, 14)
    assert not torch.equal(masks[0], plain[0])
