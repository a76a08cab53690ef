"""SAM with boxes as prompts, on a small model with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

from pipeline.errors import UserError
from pipeline.methods.baselines import sam
from pipeline.methods.baselines.fill import masks_from_boxes as fill
from pipeline.methods.baselines.sam import Sam

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8)
BOXES = np.asarray([[3.0, 4, 40, 44], [20.5, 10.25, 58, 30], [-4, -4, 20, 12], [30, 5, 31, 40]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SAM of two narrow layers on 64 x 64 pixels."""
    config = SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "window_size": 2,
            "global_attn_indexes": [1],
            "num_pos_feats": 8,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 64,
            "patch_size": 8,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    path = tmp_path_factory.mktemp("sam")
    torch.manual_seed(0)
    SamModel(config).save_pretrained(path)
    SamProcessor(
        SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    ).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Sam:
    return Sam(folder, "cpu")


def test_masks_stay_in_their_box_and_are_never_empty(model: Sam) -> None:
    masks, filled = model.masks_from_boxes(IMAGE, BOXES), fill(IMAGE, BOXES)
    assert masks.shape == (4, 48, 60)
    assert masks.any(axis=(1, 2)).all()
    assert not (masks & ~filled).any()
    assert (masks != filled).any()


def test_the_mask_is_the_one_that_the_model_scores_best(model: Sam, folder: Path) -> None:
    """Against the model's plain use: one box at a time, all masks at full size, the best one chosen last."""
    network, processor = SamModel.from_pretrained(folder).eval(), SamProcessor.from_pretrained(folder)
    filled = fill(IMAGE, BOXES)
    chosen = set()
    for box, inside, mask in zip(BOXES, filled, model.masks_from_boxes(IMAGE, BOXES), strict=True):
        inputs = processor(IMAGE, input_boxes=[[box.tolist()]], return_tensors="pt")
        sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
        inputs["input_boxes"] = inputs["input_boxes"].float()
        with torch.no_grad():
            outputs = network(**inputs)
        best = int(outputs.iou_scores[0, 0].argmax())
        chosen.add(best)
        expected = processor.post_process_masks(outputs.pred_masks, *sizes)[0][0, best].numpy() & inside
        np.testing.assert_array_equal(mask, expected if expected.any() else inside)
    assert chosen


def test_chunks_of_boxes_give_the_same_masks(model: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    together = model.masks_from_boxes(IMAGE, BOXES)
    monkeypatch.setattr(sam, "BOXES_AT_ONCE", 3)
    np.testing.assert_array_equal(model.masks_from_boxes(IMAGE, BOXES), together)


def test_the_image_is_encoded_once(model: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[torch.Size] = []
    encode = model._model.get_image_embeddings
    monkeypatch.setattr(
        model._model, "get_image_embeddings", lambda pixels: (calls.append(pixels.shape), encode(pixels))[1]
    )
    monkeypatch.setattr(sam, "BOXES_AT_ONCE", 2)
    model.masks_from_boxes(IMAGE, BOXES)
    assert calls == [(1, 3, 64, 64)]


def test_no_boxes_no_masks(model: Sam) -> None:
    assert model.masks_from_boxes(IMAGE, np.empty((0, 4))).shape == (0, 48, 60)


def copy(folder: Path, to: Path, *, without: str = "", config: dict[str, object] | None = None) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        if file.name != without:
            (to / file.name).write_bytes(file.read_bytes())
    if config is not None:
        stored = json.loads((to / "config.json").read_text())
        (to / "config.json").write_text(json.dumps(stored | config))
    return to


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: there is no such folder; put config\.json") as caught:
        Sam(tmp_path / "nowhere", "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("without", "config", "message"),
    [
        ("config.json", None, "config.json: is missing or describes no model"),
        ("", {"model_type": "bert"}, "describes a model of type 'bert', not sam"),
        ("model.safetensors", None, "has no weights as safetensors"),
        ("processor_config.json", None, "cannot be read as a SAM model"),
        ("", {"mask_decoder_config": {"hidden_size": 16, "mlp_dim": 48}}, "misshapen|cannot be read"),
        ("", {"vision_config": "none"}, "cannot be read as a SAM model"),
    ],
)
def test_folders_that_hold_no_sam_are_one_line(
    folder: Path, tmp_path: Path, without: str, config: dict[str, object] | None, message: str
) -> None:
    broken = copy(folder, tmp_path / "broken", without=without, config=config)
    with pytest.raises(UserError, match=message) as caught:
        Sam(broken, "cpu")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(broken))


def test_damaged_weights_are_one_line(folder: Path, tmp_path: Path) -> None:
    broken = copy(folder, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read as a SAM model"):
        Sam(broken, "cpu")


def test_pickled_weights_are_not_read(folder: Path, tmp_path: Path) -> None:
    broken = copy(folder, tmp_path / "broken", without="model.safetensors")
    (broken / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    with pytest.raises(UserError, match="has no weights as safetensors"):
        Sam(broken, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match="is cuda, and there is no GPU"):
        Sam(folder, "cuda")
