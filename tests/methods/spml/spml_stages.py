"""A folder in which all stages of SPML run on six small scenes, for tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch

from pipeline import params
from pipeline.data.images import ImageStore
from pipeline.data.label_codes import VOID
from pipeline.data.packs import Pack, encode_map, encode_scores, write_pack
from pipeline.engine.lock import discard
from pipeline.engine.parallel import HERE
from pipeline.files import write_json
from pipeline.labels.semantic_labels import SemanticLabels
from pipeline.methods.semantic.stage import predict_label_maps, train_semantic
from pipeline.methods.spml.stage import Spreading, spread
from pipeline.models.backbones import build_backbone
from pipeline.weights import save_tensors
from tests import semantic_settings
from tests.methods.cam.tag_labels import CONFIDENT

CPU = torch.device("cpu")
CLASSES = ["background", "red", "green"]
COUNT = 6
VOIDS = 40  # columns from here on are void in image 1's points
SPREAD = {
    "walk": semantic_settings.walk(),
    "windows": semantic_settings.inference(),
    "dense_crf": CONFIDENT.dense_crf,
    "processes": 1,
    "threads": 1,
}
POINTS = params.SpreadLabels.model_validate({"embedding": "points", "labels": "points", **SPREAD})
TAGS = params.SpreadCamLabels.model_validate(
    {
        "embedding": "points",
        "labels": "tags",
        "cams": "cams",
        "alpha": 6.0,
        "retrieval": semantic_settings.retrieval(),
        **SPREAD,
    }
)
SEGMENTS = params.SpreadSegmentLabels.model_validate(
    {"embedding": "points", "labels": "points", "segments": "regions", "grid": 4, "iterations": 5, **SPREAD}
)
SECOND = params.RetrievedLabels.model_validate(
    {
        "embedding": "points",
        "classifier": "classifier",
        "seed": 3,
        "labels": "tags",
        "inference": semantic_settings.inference(scales=(0.75, 1.0)),
        "retrieval": semantic_settings.retrieval(),
        **{key: value for key, value in SPREAD.items() if key != "windows"},
    }
)
PREDICT = params.SemanticPredict.model_validate(
    {
        **semantic_settings.inference(scales=(0.5, 1.0)).model_dump(),
        "dense_crf": CONFIDENT.dense_crf,
        "processes": 1,
        "threads": 1,
    }
)


class Made:
    """A folder with images and labels, and the stages in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        semantic_settings.write_scenes(folder, COUNT)
        self.store = ImageStore.open(folder / "images")
        self.start = folder / "backbone.safetensors"
        torch.manual_seed(0)
        backbone = build_backbone("small", frozen_stages=0, frozen_batchnorm=False)
        save_tensors(backbone.network.state_dict(), self.start)
        partial, cams = Pack(folder / "partial"), []
        maps = {index: partial.read(index) for index in partial.ids}
        maps[1][:, VOIDS:] = VOID
        write_pack(folder / "points" / "maps", ((key, encode_map(own)) for key, own in maps.items()), {})
        shutil.copytree(folder / "full", folder / "pixels" / "maps")
        for index in range(1, COUNT + 1):
            found = semantic_settings.scene(index)[1] > 0
            cams.append((index, encode_scores(found[None].astype(np.float16))))
        write_pack(folder / "cams", cams, {"classes": CLASSES, "stride": 1})
        for kind in ("points", "pixels", "tags"):
            self.describe(kind, CLASSES)

    def describe(self, kind: str, classes: list[str], background: bool = True) -> None:
        images = [
            {"id": i, "file_name": f"{i}.png", "width": 64, "height": 48, "tags": [2 - i % 2]}
            for i in range(1, COUNT + 1)
        ]
        info = {"kind": kind, "background": background}
        write_json(self.folder / kind / "labels.json", {"info": info, "classes": classes, "images": images})

    def labels(self, name: str) -> SemanticLabels:
        return SemanticLabels.open(self.folder / name)

    def train(self, out: str, settings: params.SemanticMethod, labels: str) -> None:
        """With what the kind of the settings needs."""
        classifies = settings.kind == "pixel_classifier"
        checkpoint = self.folder / f"checkpoint-{out}"
        train_semantic(
            settings,
            semantic_settings.pixel_embedding(),
            self.store,
            self.labels(labels),
            self.folder / out,
            start=None if classifies else self.start,
            embedding=self.folder / "embedding" if classifies else None,
            regions=self.folder / "regions" if settings.kind == "spml" else None,
            seed=3,
            checkpoint=checkpoint,
            key="key",
            name=out,
        )
        discard(checkpoint)

    def embed(self, out: str = "embedding") -> None:
        self.train(out, semantic_settings.spml({"steps": 12, "batch_size": 2}), "points")

    def classify(self, out: str = "classifier") -> None:
        self.train(out, semantic_settings.classifier({"steps": 4, "batch_size": 2}), "spread")

    def spread(self, out: str = "spread") -> None:
        self._make(POINTS, None, "points", "spread", out)

    def spread_cams(self, out: str = "spread_cams") -> None:
        self._make(TAGS, self.folder / "cams", "tags", "spread-cams", out)

    def spread_segments(self, out: str = "spread_segments") -> None:
        self._make(SEGMENTS, self.folder / "regions", "points", "spread-segments", out)

    def retrieve(self, out: str = "retrieved") -> None:
        self._make(SECOND, self.folder / "classifier", "tags", "retrieved", out)

    def _make(self, row: params.SpreadRow, beside: Path | None, labels: str, name: str, out: str) -> None:
        work = Spreading(
            self.folder / "embedding",
            self.store,
            self.labels(labels),
            self.folder / out,
            device=CPU,
            executor=HERE,
            checkpoint=self.folder / f"checkpoint-{name}",
            key="key",
            name=name.replace("-", "_"),
        )
        spread(row, beside, work)

    def predict(self, out: str = "predictions") -> None:
        predict_label_maps(
            self.folder / "classifier",
            self.store,
            PREDICT,
            self.folder / out,
            device=CPU,
            executor=HERE,
            checkpoint=self.folder / "checkpoint-predict",
            key="key",
            name="predictions",
        )
