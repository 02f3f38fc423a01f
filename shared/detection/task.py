"""The task of detectors: what its recipes may say, and where its runs are."""

from __future__ import annotations

from shared.detection.recipe import DetectionRecipe
from shared.training.tasks import Task, late

CODE = ("shared.detection.fit", "shared.detection.registry", "papers.{paper}", "papers.{paper}.detectors")
TASK = Task(
    name="detection",
    recipe=DetectionRecipe,
    boxes=True,
    hardware=frozenset({"devices", "workers"}),
    continues=False,
    headlines={"ap": "AP {:.2f} %", "map50": "mAP at IoU 0.5 {:.2f} %"},
    curve=("train_loss", "loss on the training split"),
    trains=CODE,
    measures=CODE,  # a run keeps what it detects: the one module trains and measures
    keeps=("detections",),
    run=late("shared.detection.fit", "DetectionRun"),
    measure=late("shared.detection.evaluate", "measure"),
)
