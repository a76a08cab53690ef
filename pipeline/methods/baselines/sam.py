"""Segment Anything (arXiv 2304.02643) with boxes as prompts, from a local folder of weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import SamModel, SamProcessor
from transformers.utils import logging

from pipeline.data.pixel_boxes import pixel_boxes
from pipeline.errors import UserError
from pipeline.methods.baselines.box_masks import Masks

BOXES_AT_ONCE = 32  # decoded together: each takes some 10 MiB

REMEDY = (
    "put config.json, preprocessor_config.json (or processor_config.json) and model.safetensors"
    " of a SAM model there, as in facebook/sam-vit-base on the Hugging Face hub"
)


class Sam:
    """A SAM model that turns the boxes of an image into masks."""

    def __init__(self, weights: Path, device: Literal["auto", "cpu", "cuda"] = "auto") -> None:
        """Read the model from the folder `weights`, as transformers saves it; nothing is downloaded.

        device: auto is the GPU if there is one.  Raises UserError when the folder is missing, does not hold
        a SAM model as safetensors, or holds weights that do not fit its own config, and for cuda without a
        GPU.
        """
        self.device = _device(device)
        _check_folder(weights)
        try:
            with _silent():
                loaded: Any = SamModel.from_pretrained(
                    weights, local_files_only=True, use_safetensors=True, output_loading_info=True
                )
                self._processor: Any = SamProcessor.from_pretrained(weights, local_files_only=True)
        except Exception as error:  # a broken folder can fail anywhere in transformers, with any exception
            reason = (str(error).strip().splitlines() or ["no reason given"])[0]
            problem = f"cannot be read as a SAM model ({type(error).__name__}: {reason})"
            raise UserError(weights, "", problem, REMEDY) from None
        model, loading = loaded
        # transformers would go on with random values in place of these.
        if wrong := sorted(map(str, (*loading["missing_keys"], *loading["mismatched_keys"]))):
            problem = f"{len(wrong)} weights of the model are missing or misshapen"
            raise UserError(weights, wrong[0], problem, REMEDY)
        self._model = model.eval().to(self.device)

    def masks_from_boxes(self, image: NDArray[np.uint8], boxes: NDArray[np.floating]) -> Masks:
        """(H, W, 3) uint8 RGB image and (N, 4) xyxy boxes in pixels -> (N, H, W) bool masks inside the boxes.

        Of the three masks that SAM proposes for a box, the one whose IoU it predicts to be best, cut off at
        the box.  The filled box is the answer where nothing of it lies in the box.
        """
        masks = np.zeros((len(boxes), *image.shape[:2]), dtype=bool)
        for place, mask in zip(masks, self.each_mask(image, boxes), strict=True):
            place[:] = mask
        return masks

    def each_mask(self, image: NDArray[np.uint8], boxes: NDArray[np.floating]) -> Iterator[Masks]:
        """The (H, W) masks of `masks_from_boxes` one by one; the image is encoded once for all boxes."""
        if not len(boxes):
            return
        height, width = image.shape[:2]
        prompts = [[[float(value) for value in box] for box in boxes]]
        inputs = self._processor(images=image, input_boxes=prompts, return_tensors="pt")
        embedding = self._model.get_image_embeddings(inputs["pixel_values"].to(self.device))
        within = pixel_boxes(boxes, height, width)
        for start in range(0, len(boxes), BOXES_AT_ONCE):
            chunk = slice(start, start + BOXES_AT_ONCE)
            found = self._decode(embedding, inputs, chunk)
            for mask, (x1, y1, x2, y2) in zip(found, within[chunk], strict=True):
                clipped = np.zeros((height, width), dtype=bool)
                clipped[y1:y2, x1:x2] = mask[y1:y2, x1:x2] if mask[y1:y2, x1:x2].any() else True
                yield clipped

    @torch.inference_mode()
    def _decode(self, embedding: Tensor, inputs: dict[str, Tensor], chunk: slice) -> Masks:
        """(n, H, W) bool: the best mask for each box of the chunk, not yet cut off."""
        prompts = inputs["input_boxes"][:, chunk].to(self.device, torch.float32)
        outputs: Any = self._model(image_embeddings=embedding, input_boxes=prompts, multimask_output=True)
        best = outputs.iou_scores[0].argmax(dim=1)
        logits = outputs.pred_masks[0][torch.arange(len(best), device=best.device), best]
        (masks,) = self._processor.post_process_masks(
            [logits[:, None].cpu()], inputs["original_sizes"], inputs["reshaped_input_sizes"]
        )
        found: Masks = masks[:, 0].numpy()
        return found


@contextmanager
def _silent() -> Iterator[None]:
    """transformers announces on stderr what it loads."""
    talk: Any = logging
    level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    talk.set_verbosity_error()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        talk.set_verbosity(level)
        if bars:
            talk.enable_progress_bar()


def _device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("params.yaml", "device", "is cuda, and there is no GPU", "set it to auto or cpu")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _check_folder(weights: Path) -> None:
    """Raise UserError unless the folder holds the files of a SAM model, so that nothing else is tried."""
    if not weights.is_dir():
        raise UserError(weights, "", "there is no such folder", REMEDY)
    try:
        kind = json.loads((weights / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(weights, "config.json", "is missing or describes no model", REMEDY) from None
    if kind != "sam":
        raise UserError(weights, "config.json", f"describes a model of type {kind!r}, not sam", REMEDY)
    if not any(weights.glob("*.safetensors")):
        raise UserError(weights, "", "has no weights as safetensors", REMEDY)
