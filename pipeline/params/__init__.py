"""The sections of params.yaml as frozen, validated models: unknown keys and bad values are refused.

A table (`runs`, `methods`, ...) maps a name to a row.  Every key must be written out: DVC tracks
parameters by key, and an optional key would be invisible to it.
"""

from pipeline.params.comparison import (
    Baseline,
    Classical,
    CrfBaseline,
    DenseCrf,
    Distilled,
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
from pipeline.params.runs import TAUGHT
from pipeline.params.sections import Params
from pipeline.params.semantic_evaluation import EvaluateSemantic
from pipeline.params.starts import (
    Backbone,
    RandomStart,
    ShapesPretraining,
    Start,
    TimmWeights,
    WeightFile,
)
from pipeline.params.taught import GuidedDistillation, MeanTeacher, PseudoMasks, Taught
from pipeline.params.training import Augmentation, Disturbance, Training

__all__ = [
    "ARCHITECTURES",
    "TAUGHT",
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
    "Distilled",
    "Disturbance",
    "Ellipse",
    "Evaluate",
    "EvaluateSemantic",
    "Fill",
    "GrabCut",
    "GuidedDistillation",
    "Labeling",
    "Labels",
    "Mal",
    "Mask2Former",
    "MaskRCNN",
    "MeanField",
    "MeanTeacher",
    "Method",
    "Model",
    "NmsThreshold",
    "Params",
    "Predict",
    "PseudoLabels",
    "PseudoMasks",
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
    "Taught",
    "TimmWeights",
    "Training",
    "TwoMeans",
    "WeightFile",
]
