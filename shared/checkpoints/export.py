"""Exports of pinned checkpoints, which get their name only when their outputs equal the network's."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from shared.errors import PapertrailError
from shared.files import atomic_write
from shared.weights.load import load_checkpoint, noise

TOLERANCE = 1e-4


def export(ref: str, out: Path, form: Literal["onnx", "torch"]) -> float:
    """Write "<slug>/<name>" as ONNX (input "images", output "logits") or as a torch.export program, for any batch size.

    Returns:
        The largest difference between the exported network's logits and ours, on images of noise.

    Raises:
        PapertrailError: the difference is above 1e-4, or the file cannot be written; nothing is written.
    """
    model, card = load_checkpoint(ref)
    images = noise(card.input, seed=1, count=3)
    # The exporter reports its progress; stdout belongs to the result. What it says of other packages is no news.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        content, found = _onnx(model, images) if form == "onnx" else _program(model, images)
    with torch.inference_mode():
        difference = float((found - model(images)).abs().max())
    if not difference <= TOLERANCE:
        raise PapertrailError(
            f"{out}: the exported logits differ by {difference:.1e} (above {TOLERANCE:.0e}); not written"
        )
    with atomic_write(out, "wb") as stream:
        stream.write(content)
    return difference


def _program(model: nn.Module, images: Tensor) -> tuple[bytes, Tensor]:
    """The program's bytes, and its logits after it was read back from them."""
    program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    return buffer.getvalue(), torch.export.load(buffer).module()(images).detach()


def _onnx(model: nn.Module, images: Tensor) -> tuple[bytes, Tensor]:
    """The ONNX file's bytes, and what ONNX Runtime makes of the images."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it, and says so less plainly)
    except ModuleNotFoundError as error:
        raise PapertrailError(f"{error.name} is not installed: pip install 'papertrail[export]'") from error
    program = torch.onnx.export(
        model,
        (images,),
        dynamo=True,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
