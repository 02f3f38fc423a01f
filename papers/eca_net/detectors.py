"""The detectors of tables 5 and 6: Faster R-CNN, Mask R-CNN and RetinaNet with feature pyramids on ResNet-50 and -101.

The paper takes MMDetection's settings as they are (section 4.3): necks, heads and losses are those of its own files.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from shared.detection import build

TAPS = ("stage1", "stage2", "stage3", "stage4")
FROZEN = ("stem", "stages.0")  # MMDetection's `frozen_stages=1`
# MMDetection's own files, and the kernel sizes of ECA on ResNet-50 in the released detectors (official code, README).
FILES = {
    "faster_rcnn": ("_base_/models/faster-rcnn_r50_fpn", "5555"),
    "mask_rcnn": ("_base_/models/mask-rcnn_r50_fpn", "3377"),
    "retinanet": ("_base_/models/retinanet_r50_fpn", "3377"),
}
PREFIXES = {"none": "", "se": "se_", "eca": "eca_"}


def detector(
    name: str,
    backbone: str = "resnet50",
    attention: str = "none",
    kernel: str = "released",
    frozen: bool = True,
    checkpoint: str = "",
    *,
    classes: int = 80,
) -> nn.Module:
    """A detector of table 5 on one of the paper's backbones.

    Args:
        name: of `FILES`.
        backbone: "resnet50" or "resnet101".
        attention: "none", "se" or "eca", in every block of the backbone.
        kernel: of ECA, as in `model.kernel_sizes`, or "released": the sizes of the authors' own detectors.
        frozen: the stem and the first stage are not trained and normalisation keeps its statistics, as MMDetection has
            it for backbones that come trained.
        checkpoint: "<slug>/<name>" of kept weights that the backbone begins with; none when empty.
        classes: number of classes.

    Raises:
        ValueError: there is no such backbone or attention.
        PapertrailError: MMDetection is missing.
    """
    network = _network(backbone, attention, ("resnet50", "resnet101"))
    file, released = FILES[name]
    if kernel == "released":
        kernel = released if backbone == "resnet50" else "3357"
    args = {"kernel": kernel} if attention == "eca" else {}
    config = build.on_backbone(
        build.base_model(file), "eca_net", network, args, TAPS,
        checkpoint=checkpoint or None, norm_eval=frozen, frozen=FROZEN if frozen else (),
    )  # fmt: skip
    return build.detector(config, classes)


def narrow_retinanet(
    attention: str = "none", width: float = 0.1875, channels: int = 32, convs: int = 2, *, classes: int = 80
) -> nn.Module:
    """RetinaNet on a narrow ResNet-18, which is not in the paper: for machines that cannot train the others.

    Args:
        attention: "none", "se" (with a reduction of 4) or "eca" (kernel sizes by equation 12).
        width: factor on the backbone's channels.
        channels: of the pyramid and of the head.
        convs: 3x3 convolutions in each branch of the head.
        classes: number of classes.

    Raises:
        ValueError: there is no such attention.
        PapertrailError: MMDetection is missing.
    """
    network = _network("resnet18", attention, ("resnet18",))
    args: dict[str, Any] = {"width": width}
    if attention == "se":
        args["reduction"] = 4
    elif attention == "eca":
        args["kernel"] = "adaptive"
    config = build.base_model(FILES["retinanet"][0])
    config["neck"]["out_channels"] = channels
    config["bbox_head"] |= {"in_channels": channels, "feat_channels": channels, "stacked_convs": convs}
    return build.detector(build.on_backbone(config, "eca_net", network, args, TAPS), classes)


def _network(backbone: str, attention: str, known: tuple[str, ...]) -> str:
    """The builder's name among the paper's classifiers."""
    if backbone not in known or attention not in PREFIXES:
        raise ValueError(
            f"the backbone is one of {', '.join(known)} and the attention one of {', '.join(PREFIXES)}, "
            f"not {backbone!r} and {attention!r}"
        )
    return PREFIXES[attention] + backbone


MODELS: dict[str, Callable[..., nn.Module]] = {
    **{name: functools.partial(detector, name) for name in FILES},
    "narrow_retinanet": narrow_retinanet,
}
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = {
    **{name: ((3, 800, 1344), 80) for name in FILES},
    "narrow_retinanet": ((3, 128, 128), 10),
}
