"""Steps that turn encoded images and texts into tensors."""

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

import msgspec
import numpy as np

from inference.engines.steps import Name, OneTensor, Size
from inference.errors import InvalidField, InvalidTensor
from inference.tensors import Array, Tensors, TensorSpec

PIXEL_LIMIT = 64_000_000
FORMATS = ("PNG", "JPEG")


class Image(OneTensor, frozen=True, tag="image"):
    """A PNG or JPEG, as the bytes of its file (uint8, one row per image), to pixels of `height` x `width`.

    Gives uint8, 0 to 255, RGB (or grey with one channel). Zero bytes after the end of a file are allowed, so that
    files of different lengths can share a job. Raises InvalidTensor for what is not such an image.
    """

    height: Annotated[int, msgspec.Meta(ge=1, le=8192)]
    width: Annotated[int, msgspec.Meta(ge=1, le=8192)]
    channels: Literal[1, 3] = 3
    layout: Literal["chw", "hwc"] = "chw"

    @property
    def ragged(self) -> str | None:
        return self.tensor

    def spec(self, spec: TensorSpec) -> TensorSpec:
        _bytes_of_rows(spec)
        size = (self.height, self.width)
        row = (self.channels, *size) if self.layout == "chw" else (*size, self.channels)
        return replace(spec, shape=(spec.shape[0], *row), is_ragged=False)

    def value(self, array: Array) -> Array:
        return np.stack([self._pixels(row.tobytes()) for row in array])

    def example(self, rng: np.random.Generator) -> Array | None:
        from PIL import Image as Pillow  # here, and below: most models take no images

        noise = rng.integers(0, 256, (self.height, self.width, 3), dtype=np.uint8)
        file = io.BytesIO()
        Pillow.fromarray(noise).save(file, "PNG")
        return np.frombuffer(file.getvalue(), np.uint8)

    def _pixels(self, file: bytes) -> Array:
        from PIL import Image as Pillow

        try:
            with Pillow.open(io.BytesIO(file), formats=FORMATS) as image:
                if image.width * image.height > PIXEL_LIMIT:
                    raise InvalidTensor(
                        f"The image in '{self.tensor}' has {image.width} x {image.height} pixels; "
                        f"the limit is {PIXEL_LIMIT}.",
                        tensor=self.tensor,
                    )
                image.draft("RGB" if self.channels == 3 else "L", (self.width, self.height))
                plain = image.convert("RGB" if self.channels == 3 else "L")
        except (
            OSError,
            ValueError,
            SyntaxError,
            Pillow.DecompressionBombError,
            Pillow.DecompressionBombWarning,
        ) as error:
            raise InvalidTensor(
                f"'{self.tensor}' does not hold the bytes of a readable PNG or JPEG file.", tensor=self.tensor
            ) from error
        if plain.size != (self.width, self.height):
            plain = plain.resize((self.width, self.height), Pillow.Resampling.BILINEAR)
        pixels = np.asarray(plain, np.uint8).reshape(self.height, self.width, self.channels)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if self.layout == "chw" else pixels


class Text(OneTensor, frozen=True, tag="text"):
    """UTF-8 bytes (uint8, one row per text) to int64 ids of a fixed length, cut or filled up with `pad`.

    Without a vocabulary an id is the byte's value plus `offset`; with one, the text is put in lower case and cut at
    white space, and a word that is not in it becomes `unknown`. `mask` names a further tensor: 1 where an id is
    real, 0 where it is padding. Zero bytes at the end do not count.
    """

    length: Size
    offset: int = 0
    pad: int = 0
    unknown: int = 0
    vocabulary: dict[str, int] | None = None
    mask: Name | None = None

    @property
    def ragged(self) -> str | None:
        return self.tensor

    def spec(self, spec: TensorSpec) -> TensorSpec:
        _bytes_of_rows(spec)
        return replace(spec, dtype="int64", shape=(spec.shape[0], self.length), is_ragged=False)

    def specs(self, specs: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
        found = OneTensor.specs(self, specs)
        if self.mask is not None:
            if self.mask in found:
                raise InvalidField(f"there is a tensor '{self.mask}' already")
            found[self.mask] = replace(found[self.tensor], name=self.mask)
        return found

    def run(self, tensors: Tensors) -> dict[str, Array]:
        rows = [self._ids(row.tobytes()) for row in tensors[self.tensor]]
        ids = np.full((len(rows), self.length), self.pad, np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        found = {**tensors, self.tensor: ids}
        return found if self.mask is None else {**found, self.mask: mask}

    def example(self, rng: np.random.Generator) -> Array | None:
        words = list(self.vocabulary)[:4] if self.vocabulary else ["a", "text", "to", "try"]
        return np.frombuffer(" ".join(words).encode(), np.uint8)

    def _ids(self, text: bytes) -> list[int]:
        text = text.rstrip(b"\0")
        try:
            words = text.decode().lower().split()
        except UnicodeDecodeError as error:
            raise InvalidTensor(f"'{self.tensor}' does not hold UTF-8 text.", tensor=self.tensor) from error
        if self.vocabulary is None:
            return [byte + self.offset for byte in text[: self.length]]
        return [self.vocabulary.get(word, self.unknown) for word in words[: self.length]]


def _bytes_of_rows(spec: TensorSpec) -> None:
    if spec.dtype != "uint8" or len(spec.shape) != 2:
        raise InvalidField(f"'{spec.name}' must be declared as uint8 of shape [null, null]: rows of bytes")
