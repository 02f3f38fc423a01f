"""Feature pyramids of convolutions or of adder layers: FPN, PAFPN and the paper's R-PAFPN (section 3.4, figure 5).

The paths differ in the order of the two aggregations:

- "fpn": top-down alone (Lin et al. 2017);
- "pafpn": top-down, then bottom-up (Liu et al. 2018);
- "r-pafpn": bottom-up first, P3 to P5, then top-down. Nine tenths of the last features of an adder backbone are zero,
  so that its top level has little to tell before it has heard from below.
"""

from __future__ import annotations

from typing import Literal

from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from papers.adder_detection.adder import InputGradient
from papers.adder_detection.model import adder_bn

Path = Literal["fpn", "pafpn", "r-pafpn"]
Extra = Literal["output", "input", "pool"]


class Residual(nn.Module):
    """A 3x3 layer and a shortcut around it; around a stride of 2 the shortcut keeps every second pixel."""

    def __init__(self, layer: nn.Module, stride: int) -> None:
        super().__init__()
        self.layer = layer
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H / stride, W / stride)."""
        return self.layer(x) + x[:, :, :: self.stride, :: self.stride]


@MODELS.register_module()
class Pyramid(nn.Module):
    """Levels of a backbone, from fine to coarse, to as many levels of `out_channels` channels, and coarser ones.

    Args:
        in_channels: of each level of the backbone.
        out_channels: of each level that comes out.
        num_outs: levels that come out.
        path: the order of the aggregations.
        adder: adder layers, each with batch normalisation; else convolutions with bias, as in MMDetection.
        shortcuts: a shortcut around every 3x3 layer between levels of equal width.
        extra: how levels coarser than the backbone's are made: by 3x3 layers of stride 2 from the pyramid's last level
            ("output", FCOS) or the backbone's ("input", RetinaNet), or by every second pixel ("pool", Faster R-CNN).
        input_gradient: of the adder layers.
    """

    def __init__(
        self,
        in_channels: list[int],
        out_channels: int,
        num_outs: int,
        path: Path = "fpn",
        adder: bool = False,
        shortcuts: bool = False,
        extra: Extra = "output",
        input_gradient: InputGradient = "sign",
    ) -> None:
        super().__init__()
        if path not in ("fpn", "pafpn", "r-pafpn"):
            raise ValueError(f"the path is fpn, pafpn or r-pafpn, not {path}")
        levels = len(in_channels)
        self.path = path
        self.from_input = extra == "input"

        def layer(channels: int, kernel: int, stride: int = 1) -> nn.Module:
            if adder:
                return adder_bn(input_gradient)(channels, out_channels, kernel, stride=stride, act=None)
            return nn.Conv2d(channels, out_channels, kernel, stride, kernel // 2)

        def smoothing(stride: int = 1) -> nn.Module:
            made = layer(out_channels, 3, stride)
            return Residual(made, stride) if shortcuts else made

        self.lateral = nn.ModuleList(layer(channels, 1) for channels in in_channels)
        self.smooth = nn.ModuleList(smoothing() for _ in range(levels))
        both = path != "fpn"
        self.down = nn.ModuleList(smoothing(stride=2) for _ in range(levels - 1 if both else 0))
        self.merge = nn.ModuleList(smoothing() for _ in range(levels - 1 if both else 0))
        self.extra = nn.ModuleList()
        for number in range(num_outs - levels):
            if extra == "pool":
                self.extra.append(nn.MaxPool2d(1, 2))
            elif extra == "input" and not number:
                self.extra.append(layer(in_channels[-1], 3, 2))
            else:
                self.extra.append(smoothing(stride=2))

    def init_weights(self) -> None:
        """As mmcv's pyramids begin: Xavier's uniform for convolutions; adder layers have drawn theirs."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(N, C_l, h_l, w_l) of each level to (N, out_channels, h, w) of each of the `num_outs`."""
        levels = [lateral(x) for lateral, x in zip(self.lateral, inputs, strict=True)]
        if self.path == "r-pafpn":
            levels = self._bottom_up(levels)
        levels = self._top_down(levels)
        levels = [smooth(x) for smooth, x in zip(self.smooth, levels, strict=True)]
        if self.path == "pafpn":
            levels = self._bottom_up(levels)
        x = inputs[-1] if self.from_input else levels[-1]
        for number, extra in enumerate(self.extra):
            x = extra(functional.relu(x) if number else x)
            levels.append(x)
        return tuple(levels)

    def _top_down(self, levels: list[Tensor]) -> list[Tensor]:
        found = levels[-1:]
        for finer in reversed(levels[:-1]):
            found.insert(0, finer + functional.interpolate(found[0], size=finer.shape[2:], mode="nearest"))
        return found

    def _bottom_up(self, levels: list[Tensor]) -> list[Tensor]:
        """Each level hears from the next finer one, and is then merged by a 3x3 layer."""
        heard = levels[:1]
        for coarser, down in zip(levels[1:], self.down, strict=True):
            heard.append(coarser + down(heard[-1]))
        return [heard[0], *(merge(x) for merge, x in zip(self.merge, heard[1:], strict=True))]
