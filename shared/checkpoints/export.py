"""Exports of checkpoints, which get their name only when they compute what the network computes, at any batch size."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import logging
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from shared.errors import PapertrailError, UsageError
from shared.files import atomic_write, require_writable
from shared.weights.load import load_checkpoint, noise

Form = Literal["onnx", "torch"]
SUFFIXES: dict[str, Form] = {".onnx": "onnx", ".pt2": "torch"}
EXAMPLE, BATCHES = 3, (1, 3, 5)  # images that the exporter sees, and the sizes that are tried afterwards
# An exported program adds in another order: by how often the network's own error in float32 it may err.
MULTIPLE = 8


@dataclass(frozen=True)
class Exported:
    """What was written, and how far its outputs are from the network's, over all images that were tried.

    Attributes:
        difference: the largest from the network's own outputs in float32.
        error: the largest from the network's in float64.
        own_error: of the network in float32 from itself in float64.
    """

    form: Form
    difference: float
    error: float
    own_error: float


def export(ref: str, out: Path, form: Form | None = None) -> Exported:
    """Write "<slug>/<name>" as ONNX (.onnx) or as a torch.export program (.pt2), for any batch size.

    The input "images" is (N, C, H, W) with the checkpoint's own C, H and W; the output "logits" is (N, K), of a
    detector what `shared.detection.network` gives. It is tried at several batch sizes, and held to float32's own error.

    Raises:
        UsageError: the suffix is unknown, or is not that of `form`; or `out` cannot be written.
        PapertrailError: the network cannot be exported, or the result errs by more than 8 times as much as the network
            itself does in float32, or refuses a batch size; nothing is written.
    """
    form = _form(out, form)
    require_writable(out)
    _require_tools(form)
    model, card = load_checkpoint(ref)
    images = noise(card.input, seed=1, count=max(BATCHES))
    with torch.inference_mode():
        exact, own = copy.deepcopy(model).double()(images.double()), model(images)
    # The exporter reports its progress; stdout belongs to the result. What it says of other packages is no news.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            content, run = (_onnx if form == "onnx" else _program)(model, images[:EXAMPLE])
            found = [run(images[:size]) for size in BATCHES]
        except Exception as fault:  # exporters and runtimes raise whatever they like
            reason = str(fault).strip().partition("\n")[0]
            raise PapertrailError(f"{ref}: cannot be exported for any batch size ({reason}); not written") from fault
    error, difference = (max(_largest(one - all_[: len(one)]) for one in found) for all_ in (exact, own))
    own_error = _largest(own - exact)
    allowed = MULTIPLE * max(own_error, torch.finfo(torch.float32).eps * _largest(exact))
    if not error <= allowed:
        raise PapertrailError(
            f"{out}: its outputs err by {error:.1e}, the network's own in float32 by {own_error:.1e}; above {MULTIPLE} "
            "times that nothing is written"
        )
    with atomic_write(out, "wb") as stream:
        stream.write(content)
    return Exported(form, difference, error, own_error)


def _form(out: Path, form: Form | None) -> Form:
    """What the suffix says."""
    known = SUFFIXES.get(out.suffix.lower())
    if known is None:
        raise UsageError(f"--out {out}: the name is to end in .onnx, or in .pt2 for a torch.export program")
    if form not in (None, known):
        raise UsageError(f"--out {out}: such a file is of the format `{known}`, not `{form}`; leave --format out")
    return known


def _require_tools(form: Form) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript") if form == "onnx" else ():
        if importlib.util.find_spec(name) is None:
            raise PapertrailError(f"{name} is not installed: pip install 'papertrail[export]'")


def _largest(values: Tensor) -> float:
    return float(values.abs().max())


def _program(model: nn.Module, images: Tensor) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    """The program's bytes, and the program as it is read back from them."""
    program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    again = torch.export.load(buffer).module()
    return buffer.getvalue(), lambda batch: again(batch).detach()


def _onnx(model: nn.Module, images: Tensor) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    """The ONNX file's bytes, and ONNX Runtime with them."""
    import onnxruntime

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
    return content, lambda batch: torch.from_numpy(session.run(["logits"], {"images": batch.numpy()})[0])
