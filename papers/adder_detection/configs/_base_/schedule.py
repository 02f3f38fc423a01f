"""SGD with a cosine, 12 epochs; EPOCHS=24 is the paper's longer schedule (section 4.1)."""

import os

epochs = int(os.environ.get("EPOCHS", "12"))
train_cfg = {"type": "EpochBasedTrainLoop", "max_epochs": epochs, "val_interval": 1}
val_cfg = {"type": "ValLoop"}
test_cfg = {"type": "TestLoop"}
# The paper's learning rate is "larger", without a number. 0.02 is ours: what MMDetection gives one-stage detectors,
# 0.01 for 16 images a step, in proportion to the paper's 32.
optim_wrapper = {
    "type": "OptimWrapper",
    "optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4},
}
param_scheduler = [
    # The warm-up is MMDetection's; the paper does not speak of one.
    {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": 500},
    {"type": "CosineAnnealingLR", "T_max": epochs, "by_epoch": True, "end": epochs, "convert_to_iter_based": True},
]
