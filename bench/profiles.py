"""The named metric profiles: what published numbers mean, each as the code that computed it has it.

A profile that follows a library carries its version in the id; the tests compare it with the library itself, or with
its rules written out again in plain loops where the library cannot be installed.
"""

from __future__ import annotations

from typing import Any

from bench.measures import MEASURES
from bench.rules import Aggregate, ByClasses, Metric, Profile, Rule, Values, background_share, mean, metric
from bench.shapes import PROFILES as SHAPES

SHARE = Metric(
    title="background share",
    definition="What pixel accuracy would be if every pixel were called background.",
    compute=background_share,
)
PIXELS = metric(
    "pixel accuracy (aAcc)",
    Rule(of="recall", average="micro"),
    "The share of right pixels; read it against the background share.",
)
_IN_IMAGE: dict[str, Any] = {"aggregate": "image", "merged": True}


def _measured(name: str) -> Metric:
    """A measure that is stored per image, as a metric."""
    measure = MEASURES[name]
    definition = f"{measure.definition} {measure.summary}"
    parts = _columns if measure.reduce is mean else None
    return Metric(
        title=measure.title, definition=definition, compute=measure.reduce, summed=False, measure=name, parts=parts
    )


def _columns(values: Values) -> Values:
    """Stored values (images,) or (images, K) as (images, K)."""
    return values.reshape(len(values), -1)


def overlaps(suffix: str, where: str, **switches: Any) -> dict[str, Metric]:
    """Mean Dice and mean IoU of one rule."""
    return {
        f"mdice_{suffix}": metric(f"mDice ({where})", Rule(of="dice", **switches)),
        f"miou_{suffix}": metric(f"mIoU ({where})", Rule(of="iou", **switches)),
    }


def _mmseg(*, background: bool) -> dict[str, Metric]:
    suffix, where = ("d", "data set, with background") if background else ("d_fg", "data set, foreground")

    def rule(of: str) -> Rule:
        return Rule(of=of, background=background)

    return {
        f"miou_{suffix}": metric(f"mIoU ({where})", rule("iou")),
        f"mdice_{suffix}": metric(f"mDice ({where})", rule("dice")),
        f"mfscore_{suffix}": metric(f"mFscore ({where})", rule("fscore"), "A class that is missed altogether is 0/0."),
        f"mean_class_acc{'' if background else '_fg'}": metric(
            "mean class accuracy (mAcc, mean recall)", rule("recall")
        ),
        "pixel_acc": PIXELS,
    }


def _smp(**switches: Any) -> dict[str, Metric]:
    """The five scores of segmentation-models-pytorch under one reduction."""
    suffix = {"micro": "micro"}.get(switches.get("average", ""), {"dataset": "d"}.get(switches["aggregate"], "i"))
    small = {"micro": "pooled", "d": "data set, with background", "i": "per image, with background"}[suffix]
    mean = "" if suffix == "micro" else "m"
    word = "pooled " if suffix == "micro" else "mean "

    def one(of: str) -> Rule:
        return Rule(of=of, **switches)

    return {
        f"{mean}iou_{suffix}": metric(f"{mean or word}IoU ({small})", one("iou")),
        f"{mean}dice_{suffix}": metric(f"{mean or word}Dice ({small}; f1_score)", one("dice")),
        f"ovr_acc_{suffix}": metric(f"one-against-rest accuracy ({small})", one("ovr"), "Not pixel accuracy."),
        f"precision_{suffix}": metric(f"{word}precision ({small})", one("precision")),
        f"recall_{suffix}": metric(f"{word}recall ({small})", one("recall")),
    }


def _medsegbench() -> dict[str, Metric]:
    titles = {"iou": "mIoU", "dice": "mDice", "ovr": "one-against-rest accuracy", "precision": "mean precision",
              "recall": "mean recall"}  # fmt: skip
    keys = {"iou": "miou_i", "dice": "mdice_i", "ovr": "ovr_acc_i", "precision": "precision_i", "recall": "recall_i"}
    return {
        keys[of]: metric(
            f"{title} (per image)",
            ByClasses(
                two=Rule(of=of, background=False, aggregate="image"),
                more=Rule(of=of, aggregate="image", empty="one"),
            ),
        )
        for of, title in titles.items()
    }


def _wang(aggregate: Aggregate) -> dict[str, Metric]:
    suffix, where = ("i", "per image") if aggregate == "image" else ("c", "per class, then image")

    def rule(of: str, worst: float = 1.0) -> ByClasses:
        return ByClasses(
            two=Rule(of=of, background=False, aggregate="image", empty="one", worst=worst),
            more=Rule(of=of, aggregate=aggregate, classes="truth", worst=worst),
        )

    return {
        f"miou_{suffix}": metric(f"mIoU ({where})", rule("iou")),
        f"mdice_{suffix}": metric(f"mDice ({where})", rule("dice")),
        f"miou_{suffix}_worst5": metric(f"mIoU, worst 5% ({where})", rule("iou", 0.05)),
        f"mdice_{suffix}_worst5": metric(f"mDice, worst 5% ({where})", rule("dice", 0.05)),
        "miou_d": metric(
            "mIoU (data set)", ByClasses(two=Rule(of="iou", background=False, empty="one"), more=Rule(of="iou"))
        ),
        "mean_class_acc": metric("mean class accuracy (mAcc)", Rule(of="smoothed"), "Counts begin at 1."),
    }


DEFAULT = Profile(
    name="default",
    title="Data-set level, foreground only",
    primary="mdice_d_fg",
    metrics=overlaps("d_fg", "data set, foreground", background=False, classes="truth")
    | overlaps("i_fg", "per image, foreground", background=False, aggregate="class")
    | {"pixel_acc": PIXELS, "background_share": SHARE},
    source="docs/metrics.md",
    users="This program: training, tuning and every page that asks for nothing else.",
)

IMAGE_BINARY = Profile(
    name="image_binary",
    title="Cells against background, per image",
    primary="dice_fg",
    metrics={
        "dice_fg": metric("foreground Dice (per image)", Rule(of="dice", background=False, **_IN_IMAGE)),
        "iou_fg": metric("foreground IoU (per image)", Rule(of="iou", background=False, **_IN_IMAGE)),
        "dice_mean": metric("mean Dice (foreground and background, per image)", Rule(of="dice", **_IN_IMAGE)),
        "pixel_acc": metric("pixel accuracy (per image)", Rule(of="recall", average="micro", **_IN_IMAGE)),
    },
    source="docs/metrics.md",
    users="Papers on cells against background that score each image by itself.",
)

_UBENCH: dict[str, Any] = {"background": False, "empty": "zero", **_IN_IMAGE}
_SMP = "smp-0.6.0"
_TORCHMETRICS = "torchmetrics-1.9.0"

_ALL = (
    DEFAULT,
    Profile(
        name="mmseg",
        title="mmsegmentation: data-set level, background included",
        primary="miou_d",
        metrics=_mmseg(background=True),
        library="mmsegmentation-01c9623",
        source="mmseg/evaluation/metrics/iou_metric.py",
        users="Semantic segmentation papers with mmsegmentation; the benchmarks of natural images.",
    ),
    Profile(
        name="mmseg_fg",
        title="mmsegmentation: data-set level, background left out",
        primary="miou_d_fg",
        metrics=_mmseg(background=False),
        library="mmsegmentation-01c9623",
        source="mmseg/evaluation/metrics/iou_metric.py, on the classes without background",
        users="The same code on a data set that does not list its background among the classes.",
    ),
    Profile(
        name="paddleseg",
        title="PaddleSeg: data-set level, an absent class scores 0",
        primary="miou_d",
        metrics={
            "miou_d": metric("mIoU (data set, with background)", Rule(of="iou", empty="zero")),
            "mdice_d": metric("mDice (data set, with background)", Rule(of="dice", empty="zero")),
            "precision_d": metric("mean precision (Class Acc)", Rule(of="precision", empty="zero")),
            "recall_d": metric("mean recall (data set)", Rule(of="recall", empty="zero")),
            "pixel_acc": PIXELS,
        },
        library="PaddleSeg-080bac2",
        source="paddleseg/utils/metrics.py",
        users="Papers and products made with PaddleSeg.",
    ),
    Profile(
        name="nnunet",
        title="nnU-Net: per image and class, foreground only",
        primary="mdice_i_fg",
        metrics=overlaps("i_fg", "per image, foreground", background=False, aggregate="class", strict=True),
        library="nnUNet-0a50fa0",
        source="nnunetv2/evaluation/evaluate_predictions.py (foreground_mean)",
        users="nnU-Net and the challenges that evaluate with it; its training log is another, per-patch number.",
    ),
    Profile(
        name="smp_micro",
        title="segmentation-models-pytorch, micro: all pixels of all classes pooled",
        primary="iou_micro",
        metrics=_smp(aggregate="dataset", average="micro"),
        library=_SMP,
        source="segmentation_models_pytorch.metrics, reduction='micro'",
        users="The library's own examples.",
    ),
    Profile(
        name="smp_macro",
        title="segmentation-models-pytorch, macro: data-set level, an absent class scores 1",
        primary="miou_d",
        metrics=_smp(aggregate="dataset", empty="one"),
        library=_SMP,
        source="segmentation_models_pytorch.metrics, reduction='macro', zero_division=1",
        users="Training scripts on segmentation-models-pytorch.",
    ),
    Profile(
        name="smp_macro_imagewise",
        title="segmentation-models-pytorch, macro-imagewise: per image, an absent class scores 1",
        primary="miou_i",
        metrics=_smp(aggregate="image", empty="one"),
        library=_SMP,
        source="segmentation_models_pytorch.metrics, reduction='macro-imagewise', zero_division=1",
        users="Training scripts on segmentation-models-pytorch.",
    ),
    Profile(
        name="tm_meaniou",
        title="torchmetrics MeanIoU: all images and classes at once",
        primary="miou_i",
        metrics={
            "miou_i": metric("mIoU (all image-class pairs)", Rule(of="iou", aggregate="pair")),
            "miou_c": metric("mIoU (per_class=True, then mean)", Rule(of="iou", aggregate="class")),
        },
        library=_TORCHMETRICS,
        source="torchmetrics.segmentation.MeanIoU; the mean of per_class=True leaves out its -1",
        users="Code on PyTorch Lightning; the numbers changed across the 1.x releases.",
    ),
    Profile(
        name="tm_dice_global",
        title="torchmetrics DiceScore, global: data-set level",
        primary="mdice_d",
        metrics={
            "mdice_d": metric("mDice (data set, macro)", Rule(of="dice")),
            "wdice_d": metric("weighted Dice (data set)", Rule(of="dice", average="weighted")),
            "dice_micro": metric("pooled Dice (data set, micro)", Rule(of="dice", average="micro")),
        },
        library=_TORCHMETRICS,
        source="torchmetrics.segmentation.DiceScore, aggregation_level='global'",
        users="Code on PyTorch Lightning.",
    ),
    Profile(
        name="tm_dice_samplewise",
        title="torchmetrics DiceScore, samplewise: per image",
        primary="mdice_i",
        metrics={
            "mdice_i": metric("mDice (per image, macro)", Rule(of="dice", aggregate="image")),
            "wdice_i": metric("weighted Dice (per image)", Rule(of="dice", aggregate="image", average="weighted")),
            "dice_micro_i": metric("pooled Dice (per image)", Rule(of="dice", aggregate="image", average="micro")),
        },
        library=_TORCHMETRICS,
        source="torchmetrics.segmentation.DiceScore, its default; macro since 1.9, micro before",
        users="Code on PyTorch Lightning that changes no default.",
    ),
    Profile(
        name="medsegbench",
        title="MedSegBench: per image, an absent class scores 1",
        primary="miou_i",
        metrics=_medsegbench(),
        library=_SMP,
        source="zekikus/MedSegBench test_pytorch.py and test_pytorch_multi_class.py, batches of one image",
        users="MedSegBench (Kuş and Aydin 2024), whose white blood cells (WBC) count the background in.",
    ),
    Profile(
        name="ubench_binary",
        title="U-Bench: foreground as one class, per image",
        primary="iou_fg",
        metrics={
            "iou_fg": metric("foreground IoU (per image)", Rule(of="iou", **_UBENCH)),
            "dice_fg": metric("foreground Dice (per image)", Rule(of="dice", **_UBENCH)),
            "sensitivity_fg": metric("sensitivity (per image)", Rule(of="recall", **_UBENCH)),
            "specificity_fg": metric("specificity (per image)", Rule(of="specificity", **_UBENCH)),
            "precision_fg": metric("foreground precision (per image)", Rule(of="precision", **_UBENCH)),
            "pixel_acc_fg": metric("pixel accuracy (of the mask, per image)", Rule(of="ubench", **_UBENCH)),
        },
        library="U-Bench-ec104c3",
        source="U-Bench utils/metrics_medpy.py",
        users="U-Bench: 100 variants of U-Net on 28 data sets.",
    ),
    Profile(
        name="wang_image",
        title="Wang et al.: per image over the classes of its truth",
        primary="miou_i",
        metrics=_wang("image"),
        library="JDTLosses-af6c1f6",
        source="metrics/miouic_metric.py, mioud_metric.py and accuracy_metric.py; arXiv:2310.19252",
        users="Wang et al. 2023 (NeurIPS), fine-grained IoU.",
    ),
    Profile(
        name="wang_class",
        title="Wang et al.: per class over the images that show it",
        primary="miou_c",
        metrics=_wang("class"),
        library="JDTLosses-af6c1f6",
        source="metrics/miouic_metric.py, mioud_metric.py and accuracy_metric.py; arXiv:2310.19252",
        users="Wang et al. 2023 (NeurIPS), fine-grained IoU.",
    ),
    Profile(
        name="metrics_reloaded",
        title="MetricsReloaded: each class by itself, per image",
        primary="mdice_i_fg",
        metrics={
            "mdice_i_fg": metric(
                "mDice (per image, foreground)", Rule(of="dice", aggregate="class", background=False, empty="one")
            ),
            "miou_i_fg": metric(
                "mIoU (per image, foreground)", Rule(of="iou", aggregate="class", background=False)
            ),
            "ovr_acc_i_fg": metric(
                "one-against-rest accuracy (per image, foreground)", Rule(of="ovr", aggregate="class", background=False)
            ),
        },
        library="MetricsReloaded-2025-06",
        source="MetricsReloaded/metrics/pairwise_measures.py; how images and classes are averaged is the user's choice",
        users="Challenges that follow Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z.",
    ),
    IMAGE_BINARY,
    Profile(
        name="rates",
        title="Sensitivity and specificity: data-set level, foreground classes",
        primary="sensitivity_d_fg",
        metrics={
            "sensitivity_d_fg": metric("sensitivity (data set, foreground)", Rule(of="recall", background=False)),
            "specificity_d_fg": metric("specificity (data set, foreground)", Rule(of="specificity", background=False)),
            "background_share": SHARE,
        },
        source="sklearn's recall per class; specificity is near 1 for whatever is rare, however badly it is found",
        users="Clinical papers; seeds 1 and 2.",
    ),
    Profile(
        name="seed0_hard",
        title="Seed 0 (Keras, blood cells): thresholded, against a widened truth at 512 x 512",
        primary="iou_seed0",
        metrics={"iou_seed0": _measured("seed0_hard")},
        source="sarah-antillia/Image-Segmentation-Blood-Cell, iou_coef and its mask loader",
        users="The seed project; its soft number is keras_iou.",
    ),
    Profile(
        name="seed1_hard",
        title="Seed 1 (PyTorch, blood cells): logit above 0.5, against a widened truth at 256 x 256",
        primary="iou_seed1",
        metrics={"iou_seed1": _measured("seed1_hard")},
        source="48hour/Cell_segmentation_with_Unet; a perfect predictor scored 0.84 there",
        users="The seed project.",
    ),
    Profile(
        name="seed3_hard",
        title="Seed 3 (TensorFlow, blood smears): pixels in which every class is on the right side of 0.5",
        primary="pixel_acc_seed3",
        metrics={"pixel_acc_seed3": _measured("seed3_hard"), "background_share": SHARE},
        source="abhanjac/blood_cell_image_segmentation; a blank prediction scored 0.656 there",
        users="The seed project.",
    ),
    Profile(
        name="seeds_soft",
        title="The Keras seeds: from probabilities, never thresholded",
        primary="keras_dice",
        metrics={name: _measured(name) for name in ("keras_dice", "keras_iou", "keras_dice_multiclass")},
        source="sarah-antillia losses.py (dice_coef, iou_coef, dice_coef_multiclass), batches of one image",
        users="Keras projects that report the metric they were trained with.",
    ),
)  # fmt: skip
PROFILES: dict[str, Profile] = {one.name: one for one in (*_ALL, *SHAPES)}
