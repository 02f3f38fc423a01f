"""One reading of image files, for verification, training, evaluation and figures alike."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from shared.errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")  # those that hold pixels of 8 bits, or of 16 that stand for as many levels
LARGEST = 89_478_485  # pixels, as Pillow has it: a file of a few kilobytes may claim any number

# Its warning would be silent in training, and is none to go on after: `read_image` refuses such an image everywhere.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def read_image(source: str | Path | bytes, where: str, remedy: str = "get it again") -> Image.Image:
    """An image as 8-bit RGB, in the size in which it is stored.

    The content decides the format, whatever the name ends in. An EXIF orientation is not applied: sizes and boxes in
    COCO's and VOC's files are those of the stored pixels, and ImageNet's classifiers are trained on them. Of 16 bits
    the upper eight are kept, in grey as in colour; grey is repeated; transparency is dropped, the colour below it kept.

    Args:
        source: a file, or its bytes.
        where: names the image in an error.
        remedy: the end of every error.

    Raises:
        DataError: the file is missing, cut short, animated, larger than LARGEST, or of none of the FORMATS.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            # A JPEG with a preview behind it counts as several pictures (MPO), of which the first is the photograph.
            if getattr(image, "is_animated", False) and image.format != "MPO":
                raise ValueError("it is animated; a set holds still images")
            if image.width * image.height > LARGEST:
                raise ValueError(f"{image.width}x{image.height} are more than {LARGEST:,} pixels; cut it into tiles")
            return _rgb(image)
    except UnidentifiedImageError as error:
        raise DataError(f"{where}: truncated, or no JPEG, PNG, BMP or WebP image; {remedy}") from error
    except Exception as error:  # a decoder raises whatever a broken file makes it stumble over
        raise DataError(f"{where}: cannot be decoded ({error}); {remedy}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow's own conversion makes white of everything above 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")
