"""MMDetection's configuration of a protocol: what the Runner trains by, and a file of it for users of MMDetection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from shared.builders import build
from shared.datasets.spec import SplitName
from shared.detection.boxes import DetectionSet, detection_set
from shared.detection.build import require
from shared.detection.network import DetectorNetwork
from shared.detection.recipe import DetectionRecipe
from shared.errors import UsageError
from shared.files import write_text
from shared.training.optim import build_optimiser
from shared.training.protocol import Arm, protocol_with

META = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")


def loader(
    images: DetectionSet, split: SplitName, recipe: DetectionRecipe, *, seed: int, devices: int = 1, workers: int = 0
) -> dict[str, Any]:
    """The batches of a split for one of `devices` processes: shuffled and whole for training, in order for testing."""
    train = split == "train"
    if recipe.batch_size % devices:
        raise UsageError(f"recipe.batch_size: {recipe.batch_size} images cannot be shared out over {devices} devices")
    built: dict[str, Any] = {
        "batch_size": recipe.batch_size // devices,
        "num_workers": workers,
        "worker_init_fn": {"type": "seed_worker"},
        "sampler": {"type": "DefaultSampler", "shuffle": train, "seed": seed},
        "dataset": dataset(images, split, recipe),
    }
    if train and recipe.group_shapes:
        return built | {"batch_sampler": {"type": "AspectRatioBatchSampler"}}
    return built | {"drop_last": train}


def dataset(images: DetectionSet, split: SplitName, recipe: DetectionRecipe) -> dict[str, Any]:
    """A split, and what is done with each image of it."""
    train = split == "train"
    chosen: dict[str, Any] = {
        "pipeline": _training(recipe) if train else _testing(recipe),
        "test_mode": not train,
        "filter_cfg": {"filter_empty_gt": True} if train else None,
    }
    if recipe.masks and images.layout != "coco":
        raise UsageError(f"recipe.masks: {images.name} has no outlines; take a set in COCO's layout")
    reader = "OutlinedImages" if recipe.masks else "AnnotatedImages"
    return {"type": reader, "name": images.name, "split": split} | chosen


def _training(recipe: DetectionRecipe) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [
        {"type": "ReadPixels"},
        {"type": "LoadAnnotations", "with_bbox": True, "with_mask": recipe.masks},
    ]
    if recipe.scales:
        steps.append({"type": "RandomChoiceResize", "scales": list(recipe.scales), "keep_ratio": True})
    elif recipe.zoom:
        steps.append({"type": "RandomResize", "scale": recipe.size, "ratio_range": recipe.zoom, "keep_ratio": True})
    else:
        steps.append({"type": "Resize", "scale": recipe.size, "keep_ratio": True})
    if recipe.crop:
        steps.append({"type": "RandomCrop", "crop_size": recipe.crop})
    return [*steps, {"type": "RandomFlip", "prob": recipe.flip}, {"type": "PackDetInputs"}]


def _testing(recipe: DetectionRecipe) -> list[dict[str, Any]]:
    return [
        {"type": "ReadPixels"},
        {"type": "Resize", "scale": recipe.size, "keep_ratio": True},
        {"type": "PackDetInputs", "meta_keys": META},
    ]


def export_config(paper: str, protocol_name: str, arm: str, out: Path) -> None:
    """Write an arm of a protocol as a complete configuration file of MMDetection; `out` ends in .py.

    MMDetection's own tools train by it wherever this repository can be imported: `custom_imports` puts our networks,
    data, schedules, methods and metrics into its registries. The file needs no data to be written. Each of
    `trainer.devices` processes, which MMDetection's launcher starts, has its share of the batch.

    Raises:
        UsageError: no such protocol or arm, one that trains no detector, or another suffix.
        PapertrailError: MMDetection is missing.
    """
    require()
    from mmengine.config import Config

    if out.suffix != ".py":
        raise UsageError(f"{out}: a configuration of MMDetection is a Python file; give a name that ends in .py")
    protocol = protocol_with(paper, protocol_name, arm)
    recipe, hardware, seed = protocol.recipe_of(arm), protocol.trainer, protocol.seed
    if not isinstance(recipe, DetectionRecipe):
        raise UsageError(f"papers/{paper}: `{protocol_name}` trains no detector; only a detector has such a file")
    images = detection_set(protocol.data)
    model = _model(paper, protocol.arms[arm], images.spec.classes)
    train = loader(images, "train", recipe, seed=seed, devices=hardware.devices, workers=hardware.workers)
    test = loader(images, "test", recipe, seed=seed, workers=hardware.workers) | {"batch_size": 1}
    evaluator = {"type": "SetMetric", "name": images.name, "masks": recipe.masks}
    stated = {"paper": paper, "recipe": recipe.model_dump(mode="json")}
    settings: dict[str, Any] = {
        "default_scope": "mmdet",
        "custom_imports": {"imports": ["shared.detection.registry", *_registering(model)]},
        "model": model,
        "train_dataloader": train,
        "val_dataloader": test,
        "test_dataloader": test,
        "val_evaluator": evaluator,
        "test_evaluator": evaluator,
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": recipe.epochs, "val_interval": 1},
        "val_cfg": {"type": "ValLoop"},
        "test_cfg": {"type": "TestLoop"},
        "optim_wrapper": {
            "type": "OptimWrapper",
            "constructor": "RecipeOptimiser",
            **stated,
            "clip_grad": clip(recipe),
        },
        "custom_hooks": [{"type": "RecipeHook", **stated}],
        "default_hooks": {
            "checkpoint": {"type": "CheckpointHook", "interval": 1, "max_keep_ckpts": 2},
            "logger": {"type": "LoggerHook", "interval": 50},
        },
        "randomness": {"seed": seed},
    }
    head = f'"""{paper}, {protocol_name}/{arm}; written by `papertrail export-config`."""'
    write_text(out, f"{head}\n\n{Config(settings).pretty_text}")


def clip(recipe: DetectionRecipe) -> dict[str, float] | None:
    """How MMEngine is told the largest gradient norm."""
    return None if recipe.clip is None else {"max_norm": recipe.clip}


def optimiser(network: DetectorNetwork, recipe: DetectionRecipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of a detector, in which its method takes part."""
    if recipe.method is not None:
        recipe.method.attach(network)
    return build_optimiser(network, recipe.optimiser, recipe.method)


def _model(paper: str, arm: Arm, classes: int) -> dict[str, Any]:
    """The model dictionary of an arm's detector."""
    with torch.device("meta"):
        network = build(paper, arm.builder, dict(arm.args), classes)
    assert isinstance(network, DetectorNetwork)
    return network.config


def _registering(model: dict[str, Any]) -> list[str]:
    """The paper's module that registers the model's type, where it is not MMDetection's own."""
    from mmdet.registry import MODELS

    module = MODELS.get(model["type"]).__module__
    return [module] if module.startswith("papers.") else []
