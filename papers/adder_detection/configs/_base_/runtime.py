"""What every recipe needs: our modules in MMDetection's registries, the adaptive learning rate, logs, checkpoints."""

default_scope = "mmdet"
custom_imports = {
    "imports": [
        "papers.adder_detection.switch",
        "shared.detection.backbone",
        "shared.detection.hooks",
        "shared.detection.dataset",
    ]
}
custom_hooks = [{"type": "AdaptiveGradients"}]
default_hooks = {
    "checkpoint": {"type": "CheckpointHook", "interval": 1, "max_keep_ckpts": 2},
    "logger": {"type": "LoggerHook", "interval": 50},
}
