"""A detector of MMDetection as a plain network: from images to what its dense layers give.

That is what can be counted, pinned and verified like any other network of this repository: no boxes are decoded and
nothing is suppressed, so that the layers see the same amount of work for every image.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

PROPOSALS, MASKS = 1000, 100  # regions for each image, as MMDetection's own counting tool has them


class DetectorNetwork(nn.Module):
    """(N, 3, H, W) to (N, K): the mean over places, or over regions, of every channel that a head gives.

    A second stage sees 1000 regions an image (a mask head 100, a detector with learned queries its own number). Which
    regions they are plays no part in the amount of work: each is the first level of the neck, pooled to the region's
    size.

    Args:
        detector: built by MMDetection.
        config: the model dictionary that it was built from.
    """

    def __init__(self, detector: nn.Module, config: dict[str, Any]) -> None:
        super().__init__()
        self.detector: Any = detector  # MMDetection's classes have no types
        self.config = config

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, K)."""
        other = _plain if images.is_meta else _sampled if torch.compiler.is_exporting() else None
        with _deformable(other) if other else contextlib.nullcontext():
            levels = self.detector.extract_feat(images)
            if not hasattr(self.detector, "roi_head"):
                outputs = _tensors(self.detector.bbox_head(levels))
            elif hasattr(self.detector.rpn_head, "init_proposal_features"):
                outputs = self._queried(levels)
            else:
                outputs = [*_tensors(self.detector.rpn_head(levels)), *self._second_stage(levels)]
        return torch.cat([_summary(output, images.shape[0]) for output in outputs], dim=1)

    def _second_stage(self, levels: tuple[Tensor, ...]) -> list[Tensor]:
        """The heads behind the proposals; of a cascade (Cai and Vasconcelos 2018) those of every stage."""
        head = self.detector.roi_head
        parts = [(head.bbox_roi_extractor, head.bbox_head, PROPOSALS)]
        parts += [(head.mask_roi_extractor, head.mask_head, MASKS)] if head.with_mask else []
        outputs: list[Tensor] = []
        for extractors, heads, number in parts:
            for extractor, stage in zip(_stages(extractors), _stages(heads), strict=True):
                outputs += _tensors(stage(_regions(levels, number, extractor.roi_layers[0].output_size)))
        return outputs

    def _queried(self, levels: tuple[Tensor, ...]) -> list[Tensor]:
        """The stages of Sparse R-CNN: learned queries, refined one stage after another."""
        head, queries = self.detector.roi_head, self.detector.rpn_head
        images, number = levels[0].shape[0], queries.num_proposals
        features = queries.init_proposal_features.weight.expand(images, -1, -1)
        outputs: list[Tensor] = []
        for extractor, stage in zip(head.bbox_roi_extractor, head.bbox_head, strict=True):
            regions = _regions(levels, number, extractor.roi_layers[0].output_size)
            scores, boxes, features, _ = stage(regions, features)
            outputs += [scores.flatten(0, 1), boxes.flatten(0, 1)]
        return outputs


def _stages(part: nn.Module) -> list[Any]:
    """The parts of a cascade's stages, or the one of a head with a single stage."""
    return list(part) if isinstance(part, nn.ModuleList) else [part]


def _regions(levels: tuple[Tensor, ...], number: int, size: tuple[int, int]) -> Tensor:
    """(N * number, C, h, w): the same region `number` times for each image."""
    return functional.adaptive_avg_pool2d(levels[0], size).repeat_interleave(number, dim=0)


def _tensors(outputs: Any) -> list[Tensor]:
    """The tensors of a head's output, however it nests them."""
    if isinstance(outputs, Tensor):
        return [outputs]
    return [] if outputs is None else [tensor for output in outputs for tensor in _tensors(output)]


def _summary(output: Tensor, images: int) -> Tensor:
    """(N, channels): means over places (N, C, H, W) or over regions (N * regions, C[, h, w])."""
    return output.reshape(images, -1, output.shape[1], *output.shape[2:]).transpose(1, 2).flatten(2).mean(2)


@contextlib.contextmanager
def _deformable(forward: Callable[[Any, Tensor, Tensor], Tensor]) -> Iterator[None]:
    """Deformable convolutions (Dai et al. 2017) by another forward, where mmcv's operator has no form."""
    from mmcv.ops import DeformConv2d

    original = DeformConv2d.forward
    DeformConv2d.forward = forward
    try:
        yield
    finally:
        DeformConv2d.forward = original


def _plain(layer: Any, x: Tensor, _: Tensor) -> Tensor:
    """On the meta device: as much work as a convolution's."""
    return functional.conv2d(x, layer.weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


def _sampled(layer: Any, x: Tensor, offset: Tensor) -> Tensor:
    """In an exported program: the same in standard operators, bilinear samples for each tap and one product of them."""
    (images, _, height, width), outputs, parts = x.shape, offset.shape[2:], layer.deform_groups
    rows, columns = (
        torch.arange(count, dtype=x.dtype, device=x.device) * step - pad
        for count, step, pad in zip(outputs, layer.stride, layer.padding, strict=True)
    )
    down, across = (
        torch.arange(count, dtype=x.dtype, device=x.device) * step
        for count, step in zip(layer.kernel_size, layer.dilation, strict=True)
    )
    y, x_ = offset.reshape(images * parts, *layer.kernel_size, 2, *outputs).unbind(3)
    y = y + rows[:, None] + down[:, None, None, None]
    x_ = x_ + columns + across[:, None, None]
    grid = torch.stack([(2 * x_ + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1).flatten(1, 3)
    samples = functional.grid_sample(x.reshape(images * parts, -1, height, width), grid, align_corners=False)
    weight = layer.weight.flatten(1)[:, :, None, None]
    return functional.conv2d(samples.reshape(images, -1, *outputs), weight, groups=layer.groups)
