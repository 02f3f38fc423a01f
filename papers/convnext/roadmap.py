"""The roadmap from a ResNet to ConvNeXt (section 2, figure 2; tables 10 and 11): every step is a network.

A step keeps what the steps before it changed. All but the last are built here, from one bottleneck whose parts are
moved and left out; the last, with a layer of its own for each reduction of resolution, is ConvNeXt itself. What the
paper leaves open is decided so that the multiply-adds are the printed ones. Where they do not tell (activation and
normalisation of the stem and of the shortcuts, when those of the blocks go), the same goes there too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from papers.convnext.model import EXPANSION, ConvNeXt, LayerNorm2d, initialise, scaled
from shared.layers.drop_path import DropPath, linear_rates

# The steps in their order, with the section that takes them; the first is the ResNet.
STEPS = {
    "resnet": "2.1",
    "stage-ratio": "2.2",
    "patchify": "2.2",
    "depthwise": "2.3",
    "wide": "2.3",
    "inverted": "2.4",
    "moved-up": "2.5",
    "large-kernel": "2.5",
    "gelu": "2.6",
    "fewer-activations": "2.6",
    "fewer-norms": "2.6",
    "layer-norm": "2.6",
    "convnext": "2.6",
}
# Blocks of the four stages: of the ResNet, and from "stage-ratio" on.
DEPTHS = {"resnet50": ((3, 4, 6, 3), (3, 3, 9, 3)), "resnet200": ((3, 24, 36, 3), (3, 3, 27, 3))}
# Channels of the first stage: of the ResNet, from "stage-ratio" on, and from "wide" on.
WIDTHS = {"resnet50": (64, 64, 96), "resnet200": (64, 84, 128)}
LARGE_KERNEL = 7
STEM_KERNEL = 7  # of the ResNet


class Step:
    """What the networks of a step have in common.

    Args:
        name: of `STEPS`.
        kernel: of the depthwise convolutions from "large-kernel" on.

    Raises:
        ValueError: there is no such step, or it does not choose the kernel that is asked for.
    """

    def __init__(self, name: str, kernel: int = LARGE_KERNEL) -> None:
        if name not in STEPS:
            raise ValueError(f"step must be one of {', '.join(STEPS)}, not {name!r}")
        if kernel % 2 == 0 or (kernel != LARGE_KERNEL and name != "large-kernel"):
            raise ValueError(f"kernel is odd, and other than {LARGE_KERNEL} at the step large-kernel alone: {kernel}")
        self._reached = list(STEPS).index(name)
        self.depthwise = self.includes("depthwise")
        self.inverted = self.includes("inverted")
        self.moved_up = self.includes("moved-up")
        self.few_activations = self.includes("fewer-activations")
        self.few_norms = self.includes("fewer-norms")
        self.kernel = kernel if self.includes("large-kernel") else 3
        self.act: type[nn.Module] = nn.GELU if self.includes("gelu") else nn.ReLU
        self.norm: Callable[[int], nn.Module] = LayerNorm2d if self.includes("layer-norm") else nn.BatchNorm2d

    def includes(self, step: str) -> bool:
        """Whether this step is the one of that name, or comes behind it."""
        return self._reached >= list(STEPS).index(step)


class Bottleneck(nn.Module):
    """A residual block of a step: (N, in, H, W) to (N, out, H / stride, W / stride).

    A ResNet's block narrows to the stage's width and widens fourfold to its output; the inverted one widens fourfold
    in between, and its output is the stage's width.
    """

    def __init__(self, in_channels: int, width: int, stride: int, step: Step, drop_path: float) -> None:
        super().__init__()
        hidden, self.out_channels = (EXPANSION * width, width) if step.inverted else (width, EXPANSION * width)

        def conv(inner: int, outer: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
            biased = step.few_norms and (
                kernel == 1 or step.norm is LayerNorm2d
            )  # where no norm follows, and as ConvNeXt has it
            return nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=biased)

        seen = in_channels if step.moved_up else hidden
        spatial = conv(seen, seen, step.kernel, stride, groups=seen if step.depthwise else 1)
        first = conv(in_channels, hidden)
        self.body = nn.Sequential()
        for place, layer in enumerate([spatial, first] if step.moved_up else [first, spatial]):
            self.body.append(layer)
            if layer is spatial or not step.few_norms:
                self.body.append(step.norm(layer.out_channels))
            if place == 1 or not step.few_activations:
                self.body.append(step.act())
        self.body.append(conv(hidden, self.out_channels))
        self.shortcut = nn.Sequential()  # the identity
        if stride > 1 or in_channels != self.out_channels:
            self.shortcut.append(conv(in_channels, self.out_channels, stride=stride))
        if not step.few_norms:
            self.body.append(step.norm(self.out_channels))
            if len(self.shortcut):
                self.shortcut.append(step.norm(self.out_channels))
        self.drop_path = DropPath(drop_path)
        self.act = nn.Identity() if step.few_activations else step.act()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        return self.act(self.shortcut(x) + self.drop_path(self.body(x)))


class Modernised(nn.Module):
    """A ResNet on its way: images (N, in_channels, H, W) to logits (N, classes).

    Args:
        step: what its blocks are.
        width: channels of the first stage.
        depths: blocks of each stage.
        patch: the stem's stride, 4 or 2.
        drop_path: of the last block; it rises linearly from 0 in the first.
        classes: number of classes.
        in_channels: of the images.
    """

    def __init__(
        self,
        step: Step,
        width: int,
        depths: Sequence[int],
        *,
        patch: int,
        drop_path: float,
        classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        if step.includes("patchify"):
            self.stem = nn.Sequential(nn.Conv2d(in_channels, width, patch, patch, bias=step.few_norms))
        else:
            self.stem = nn.Sequential(nn.Conv2d(in_channels, width, STEM_KERNEL, 2, STEM_KERNEL // 2, bias=False))
        self.stem.extend([] if step.few_norms else [step.norm(width)])
        self.stem.extend([] if step.few_activations else [step.act()])
        self.stem.extend([] if step.includes("patchify") or patch == 2 else [nn.MaxPool2d(3, 2, 1)])
        rates = iter(linear_rates(drop_path, sum(depths)))
        stages, channels = [], width
        for stage, depth in enumerate(depths):
            blocks = []
            for number in range(depth):
                stride = 2 if stage and number == 0 else 1
                blocks.append(Bottleneck(channels, width * 2**stage, stride, step, next(rates)))
                channels = blocks[-1].out_channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        return self.classifier(self.pool(x).flatten(1))


def roadmap(
    step: str = "convnext",
    start: str = "resnet50",
    kernel: int = LARGE_KERNEL,
    width: float = 1.0,
    patch: int = 4,
    drop_path: float = 0.0,
    classes: int = 1000,
    in_channels: int = 3,
) -> nn.Module:
    """The network that a step of the roadmap ends with.

    Args:
        step: of `STEPS`.
        start: "resnet50" (table 10, ends at ConvNeXt-T) or "resnet200" (table 11, ends at ConvNeXt-B).
        kernel: of the depthwise convolutions at the step "large-kernel", where the authors tried 5, 7, 9 and 11.
        width: factor on every channel count.
        patch: the stem's stride; 4, or 2 for images of few pixels, where a ResNet's stem goes without its pooling.
        drop_path: of the last block; it rises linearly from 0 in the first.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: there is no such step, start or stride, or the step does not choose that kernel.
    """
    found = Step(step, kernel)
    if start not in DEPTHS:
        raise ValueError(f"start must be one of {', '.join(DEPTHS)}, not {start!r}")
    if patch not in (2, 4):
        raise ValueError(f"patch must be 4 or 2, not {patch}")
    depths = DEPTHS[start][found.includes("stage-ratio")]
    (channels,) = scaled([WIDTHS[start][found.includes("stage-ratio") + found.includes("wide")]], width)
    shared = {"patch": patch, "drop_path": drop_path, "classes": classes, "in_channels": in_channels}
    if step == "convnext":
        return ConvNeXt([channels * 2**stage for stage in range(4)], depths, **shared)  # type: ignore[arg-type]
    return Modernised(found, channels, depths, **shared)  # type: ignore[arg-type]
