"""The sections of params.yaml as frozen, validated models: unknown keys and bad values are refused.

A table (`runs`, `methods`, ...) maps a name to a row.  Every key must be written out: DVC tracks
parameters by key, and an optional key would be invisible to it.
"""

from pipeline.params.comparison import (
    Baseline,
    Classical,
    CrfBaseline,
    DenseCrf,
    Ellipse,
    Evaluate,
    Fill,
    GrabCut,
    Labeling,
    NmsThreshold,
    Predict,
    PseudoLabels,
    Report,
    Run,
    Sam,
    TwoMeans,
)
from pipeline.params.data import CityscapesFolder, CocoFolder, Labels, Shapes, Split, SplitList
from pipeline.params.methods import (
    ARCHITECTURES,
    BoxInst,
    CropAugmentation,
    Mal,
    MeanField,
    Method,
    Supervised,
)
from pipeline.params.networks import AutoLabeler, CondInst, Detectron2, Mask2Former, MaskRCNN, Model
from pipeline.params.query_losses import QueryLosses
from pipeline.params.sections import Params
from pipeline.params.starts import (
    Backbone,
    RandomStart,
    ShapesPretraining,
    Start,
    TimmWeights,
    WeightFile,
)
from pipeline.params.training import Augmentation, Training

__all__ = [
    "ARCHITECTURES",
    "Augmentation",
    "AutoLabeler",
    "Backbone",
    "Baseline",
    "BoxInst",
    "CityscapesFolder",
    "Classical",
    "CocoFolder",
    "CondInst",
    "CrfBaseline",
    "CropAugmentation",
    "DenseCrf",
    "Detectron2",
    "Ellipse",
    "Evaluate",
    "Fill",
    "GrabCut",
    "Labeling",
    "Labels",
    "Mal",
    "Mask2Former",
    "MaskRCNN",
    "MeanField",
    "Method",
    "Model",
    "NmsThreshold",
    "Params",
    "Predict",
    "PseudoLabels",
    "QueryLosses",
    "RandomStart",
    "Report",
    "Run",
    "Sam",
    "Shapes",
    "ShapesPretraining",
    "Split",
    "SplitList",
    "Start",
    "Supervised",
    "TimmWeights",
    "Training",
    "TwoMeans",
    "WeightFile",
]
