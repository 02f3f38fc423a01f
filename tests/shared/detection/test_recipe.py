from __future__ import annotations

from typing import Any

import pytest

from shared.detection.recipe import DetectionRecipe, read_recipe
from shared.errors import PapertrailError
from shared.training.protocol import Protocol, input_shape

RECIPE: dict[str, Any] = {
    "task": "detection", "epochs": 1, "batch_size": 8, "size": [128, 64], "optimiser": {"name": "sgd", "lr": 0.01},
}  # fmt: skip


def protocol(trainer: dict[str, Any]) -> dict[str, Any]:
    arms = {"a": {"builder": "retinanet"}}
    return {"what": "a test", "data": "digit_scenes", "arms": arms, "recipe": RECIPE, "trainer": trainer}


def test_the_network_sees_the_box_of_the_test_images() -> None:
    assert input_shape(Protocol.model_validate(protocol({})), "a") == (3, 64, 128)


def test_one_way_to_scale() -> None:
    with pytest.raises(PapertrailError, match=r"papers/ghostnet: recipe: .*either `scales` or `zoom`"):
        read_recipe("ghostnet", RECIPE | {"scales": [[64, 64]], "zoom": [0.5, 2]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zoom": [2, 0.5]}, r"`zoom` must be \[low, high\]"),
        ({"batch_size": 0}, "batch_size: expected a number above 0, found 0"),
        ({"label_smoothing": 0.1}, "label_smoothing: unknown key"),
        ({"augment": {"mixup": 0.2}}, "augment: unknown key"),
        ({"schedule": {"name": "multistep", "milestones": [1]}}, r"schedule\.milestones: \(1,\) is not reached in a"),
    ],
)
def test_an_impossible_recipe_is_refused_by_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PapertrailError, match=rf"papers/ghostnet: recipe: .*{message}"):
        read_recipe("ghostnet", RECIPE | change)


def test_a_detector_learns_from_boxes() -> None:
    with pytest.raises(ValueError, match="data: mnist5k is a set without boxes, and no data for the task `detection`"):
        Protocol.model_validate(protocol({}) | {"data": "mnist5k"})


def test_a_recipe_comes_back_from_json_with_its_method() -> None:
    recipe = read_recipe("adder_detection", RECIPE | {"method": {"name": "adder", "eta": 0.5}})
    assert read_recipe("adder_detection", recipe.model_dump(mode="json")) == recipe
    assert recipe.method is not None and recipe.method.model_dump() == {"name": "adder", "eta": 0.5}


@pytest.mark.parametrize(
    "key", [{"precision": "16-mixed"}, {"accelerator": "cpu"}, {"nodes": 2}, {"channels_last": True}]
)
def test_what_a_detectors_run_does_not_heed_is_refused(key: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"trainer\.{next(iter(key))}: .* `detection` does not heed it"):
        Protocol.model_validate(protocol(key))
    assert Protocol.model_validate(protocol({"devices": 2, "workers": 1})).trainer.devices == 2


def test_a_detector_is_trained_for_epochs() -> None:
    with pytest.raises(ValueError, match="epochs"):
        DetectionRecipe.model_validate({key: value for key, value in RECIPE.items() if key != "epochs"})
