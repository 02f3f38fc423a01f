from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from shared import datasets
from shared.datasets import decoded
from shared.datasets.encoded import Images
from shared.datasets.image_file import read_image
from shared.errors import DataError
from tests.shared.datasets.made import jpeg

COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [200, 100, 50]], [[0, 0, 0], [255, 255, 255]]], np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(header: tuple[int, ...], rows: bytes) -> bytes:
    """A PNG of (width, height, bits, colour type), written by hand; `rows` are its uncompressed data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", *header, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pixels(source: bytes | Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nor is anything said on stderr
        image = read_image(source, "x")
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize(
    "kind, options", [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True, "exact": True})], ids=["PNG", "BMP", "WebP"]
)
def test_formats_without_loss_are_read_as_they_were_written(kind, options):
    assert np.array_equal(pixels(encoded(Image.fromarray(COLOURS), kind, **options)), COLOURS)


def test_photographs_with_a_preview_are_read_as_the_photograph():
    red, blue = (Image.new("RGB", (16, 8), colour) for colour in ("red", "blue"))
    found = pixels(encoded(red, "MPO", save_all=True, append_images=[blue]))
    assert found.shape == (8, 16, 3) and found[0, 0].tolist() == [254, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_mode_becomes_colour(mode):
    opaque = Image.fromarray(COLOURS).convert(mode)
    assert np.array_equal(pixels(encoded(opaque, "PNG")), np.asarray(opaque.convert("RGB")))


def test_transparency_is_dropped_and_the_colour_below_it_kept():
    layered = Image.fromarray(COLOURS)
    layered.putalpha(Image.fromarray(np.array([[0, 0], [128, 128], [255, 255]], np.uint8)))
    assert np.array_equal(pixels(encoded(layered, "PNG")), COLOURS)
    assert np.array_equal(pixels(encoded(layered, "WEBP", lossless=True, exact=True)), COLOURS)
    palette = Image.fromarray(COLOURS).convert("P", palette=Image.Palette.ADAPTIVE)
    for transparency in (0, bytes(range(6))):
        assert np.array_equal(pixels(encoded(palette, "PNG", transparency=transparency)), COLOURS)


def test_a_jpeg_for_printing_has_the_colours_that_are_seen():
    grey = Image.new("CMYK", (8, 8), (0, 0, 0, 100))
    assert np.abs(pixels(encoded(grey, "JPEG")).astype(int) - 155).max() <= 2
    assert np.abs(pixels(encoded(Image.new("L", (8, 8), 155), "JPEG")).astype(int) - 155).max() <= 2


def test_grey_of_16_bits_is_scaled_as_colour_of_16_bits_is():
    levels = (0, 255, 256, 0x80FF, 0xFFFF)
    grey = png((5, 1, 16, 0), b"\0" + struct.pack(">5H", *levels))
    colour = png((5, 1, 16, 2), b"\0" + struct.pack(">15H", *(level for level in levels for _ in range(3))))
    assert pixels(grey)[0, :, 0].tolist() == [0, 0, 1, 0x80, 255]
    assert np.array_equal(pixels(grey), pixels(colour))


@pytest.mark.parametrize(
    "bits, row, expected", [(1, 0b01000000, [0, 255]), (2, 0b01110000, [85, 255]), (4, 0x2F, [34, 255])]
)
def test_grey_of_few_bits_has_its_whole_range(bits, row, expected):
    assert pixels(png((2, 1, bits, 0), bytes([0, row])))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_exif_orientation_turns_nothing(kind, orientation):
    plain = Image.open(io.BytesIO(jpeg(3, (24, 16))))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    turned, untouched = encoded(plain, kind, exif=exif), encoded(plain, kind)
    assert Image.open(io.BytesIO(turned)).getexif()[ExifTags.Base.Orientation] == orientation
    assert pixels(turned).shape == (16, 24, 3) and np.array_equal(pixels(turned), pixels(untouched))


def test_the_content_decides_and_not_the_suffix(tmp_path):
    """One of ImageNet's .JPEG files is a PNG."""
    file = tmp_path / "a.JPEG"
    file.write_bytes(encoded(Image.fromarray(COLOURS), "PNG"))
    assert np.array_equal(pixels(file), COLOURS)


RGB = Image.fromarray(COLOURS)
PAIR = {"save_all": True, "append_images": [RGB.rotate(180)]}
REFUSED = {
    "GIF": (encoded(RGB, "GIF"), "truncated, or no JPEG, PNG, BMP or WebP image"),
    "TIFF": (encoded(RGB, "TIFF"), "truncated, or no JPEG, PNG, BMP or WebP image"),
    "TIFF of floats": (encoded(Image.new("F", (2, 2)), "TIFF"), "truncated, or no JPEG, PNG, BMP or WebP image"),
    "icon": (encoded(RGB, "ICO"), "truncated, or no JPEG, PNG, BMP or WebP image"),
    "page": (b"<html>not found</html>", "truncated, or no JPEG, PNG, BMP or WebP image"),
    "nothing": (b"", "truncated, or no JPEG, PNG, BMP or WebP image"),
    "animated PNG": (encoded(RGB, "PNG", **PAIR), "cannot be decoded .it is animated"),
    "animated WebP": (encoded(RGB, "WEBP", **PAIR), "cannot be decoded .it is animated"),
    "bomb": (png((20000, 20000, 8, 0), b""), "cannot be decoded .Image size .400000000 pixels"),
    "smaller bomb": (png((10000, 10000, 8, 0), b""), r"cannot be decoded .10000x10000 are more than 89,478,485 pixels"),
    "broken PNG": (png((4, 4, 8, 2), b"\xff" * 3), "cannot be decoded"),
    "no such PNG": (png((4, 4, 7, 2), b""), "truncated, or no|cannot be decoded"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_read_is_named_in_one_line(kind):
    content, message = REFUSED[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as training has it
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(DataError, match=rf"^folder/a\.jpg: (?:{message})[^\n]*; fetch it anew$"):
            read_image(content, "folder/a.jpg", "fetch it anew")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
def test_a_file_cut_short_anywhere_is_named(kind):
    whole = encoded(Image.open(io.BytesIO(jpeg(0))), kind)
    for length in {*range(0, len(whole) - 16, 97), len(whole) // 2}:
        with pytest.raises(DataError, match=r"^a\.jpg: (truncated, or no|cannot be decoded)[^\n]*; get it again$"):
            read_image(whole[:length], "a.jpg")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.jpg: cannot be decoded .*No such file"):
        read_image(tmp_path / "a.jpg", "a.jpg")


def test_every_reader_of_labelled_images_reads_so(tmp_path):
    grey = png((2, 2, 16, 0), (b"\0" + struct.pack(">2H", 0x1234, 0xFFFF)) * 2)
    (tmp_path / "a.png").write_bytes(grey)
    expected = pixels(grey)
    for items in ([grey], [str(tmp_path / "a.png")]):
        assert np.array_equal(np.asarray(Images(items, ["a"], torch.tensor([0])).decode(0)), expected)
    spec = datasets.spec("cifar10").model_copy(update={"shape": (3, 2, 2)})
    for source in (grey, tmp_path / "a.png"):
        assert np.array_equal(decoded.decode_one(spec, source, "a").permute(1, 2, 0).numpy(), expected)
    with pytest.raises(DataError, match="x: an image: truncated, or no JPEG, PNG, BMP or WebP image; "):
        decoded.decode_one(spec, REFUSED["GIF"][0], "x")
