"""Augmentations on arrays, each a pure function of the image, its options and a numpy Generator.

Brightness, contrast, saturation and hue are all affine in RGB, so their product is one 3x4 matrix
and one pass over the pixels; nothing is clipped or rounded in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class PhotometricOptions:
    """How far colours and sharpness may wander; the defaults keep cells recognisable.

    Attributes:
        brightness: gain drawn from [1 - b, 1 + b].
        contrast: the distance to the image's mean grey is scaled by [1 - c, 1 + c].
        saturation: the distance to each pixel's own grey is scaled by [1 - s, 1 + s].
        hue: turn about the grey axis in [-h, h], in full turns (0.02 = 7 degrees); beyond 0.05 a
            pink smear becomes green or blue, which no stain is.
        blur_probability: chance of a Gaussian blur.
        blur_sigma: the largest standard deviation in px of the crop; drawn from [0.3, this].
        noise_probability: chance of grey noise, the same in the three channels.
        noise_std: the largest standard deviation in grey levels; drawn from [0, this].
    """

    brightness: float = 0.15
    contrast: float = 0.15
    saturation: float = 0.2
    hue: float = 0.02
    blur_probability: float = 0.15
    blur_sigma: float = 1.0
    noise_probability: float = 0.15
    noise_std: float = 6.0

    def __post_init__(self) -> None:
        bounds = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0.5}
        bounds.update(blur_probability=1, noise_probability=1, blur_sigma=20, noise_std=128)
        for name, top in bounds.items():
            value = getattr(self, name)
            if not 0 <= value <= top:
                raise ValueError(f"{name} must lie in [0, {top}], got {value}")

    @classmethod
    def off(cls) -> PhotometricOptions:
        """Options that change nothing."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def colour_matrix(
    brightness: float, contrast: float, saturation: float, hue: float, mean_grey: float
) -> np.ndarray:
    """(3, 4) float32 affine map of RGB: saturation, then hue, then contrast, then brightness.

    Args:
        brightness: gain, 1 = unchanged.
        contrast: factor on the distance to ``mean_grey``, 1 = unchanged.
        saturation: factor on the distance to a pixel's own grey (BT.601 luma), 1 = unchanged.
        hue: turn about the grey axis, in full turns, 0 = unchanged.
        mean_grey: mean luma of the image, 0 to 255.
    """
    saturate = saturation * np.eye(3) + (1 - saturation) * np.tile(LUMA, (3, 1))
    angle = 2 * np.pi * hue
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = (
        np.cos(angle) * np.eye(3)
        + np.sin(angle) * cross
        + (1 - np.cos(angle)) * np.outer(axis, axis)
    )
    matrix = np.empty((3, 4), dtype=np.float32)
    matrix[:, :3] = brightness * contrast * turn @ saturate
    matrix[:, 3] = brightness * (1 - contrast) * mean_grey
    return matrix


def jitter_colour(
    image: np.ndarray, rng: np.random.Generator, options: PhotometricOptions
) -> np.ndarray:
    """The image (H, W, 3) uint8 RGB with brightness, contrast, saturation and hue drawn at random.

    Four numbers are drawn whatever the options, so switching one off does not shift the others.
    """
    draws = rng.uniform(-1.0, 1.0, size=4)
    strengths = (options.brightness, options.contrast, options.saturation, options.hue)
    if not any(strengths):
        return image
    shifts = draws * strengths
    mean_grey = float(np.dot(cv2.mean(image)[:3], LUMA))
    matrix = colour_matrix(1 + shifts[0], 1 + shifts[1], 1 + shifts[2], shifts[3], mean_grey)
    return cv2.transform(image, matrix)


def blur(image: np.ndarray, rng: np.random.Generator, options: PhotometricOptions) -> np.ndarray:
    """The image, with ``blur_probability`` out of focus by a Gaussian."""
    chance, draw = rng.uniform(size=2)
    if chance >= options.blur_probability or options.blur_sigma <= 0.3:
        return image
    sigma = 0.3 + draw * (options.blur_sigma - 0.3)
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


def add_noise(
    image: np.ndarray, rng: np.random.Generator, options: PhotometricOptions
) -> np.ndarray:
    """The image (H, W, 3) uint8, with ``noise_probability`` under Gaussian noise of the luma."""
    chance, draw = rng.uniform(size=2)
    if chance >= options.noise_probability or options.noise_std == 0:
        return image
    std = draw * options.noise_std
    noise = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(std)
    noisy = image + noise[..., None]
    return cv2.convertScaleAbs(np.clip(noisy, 0, 255))


def photometric(
    image: np.ndarray, rng: np.random.Generator, options: PhotometricOptions
) -> np.ndarray:
    """Colour jitter, then blur, then noise, as light, lens and sensor do it; the input is kept.

    Args:
        image: (H, W, 3) uint8 RGB; an image without pixels is returned as it is.

    Returns:
        The same shape and dtype; it may be the input itself when nothing changed.
    """
    if image.size == 0:
        return image
    return add_noise(blur(jitter_colour(image, rng, options), rng, options), rng, options)


def turn_and_flip(array: np.ndarray, quarter_turns: int, mirror: bool) -> np.ndarray:
    """One of the eight symmetries of the square, applied exactly: first mirrored, then turned.

    Args:
        array: (H, W) or (H, W, C) of any dtype; (H, W) becomes (W, H) for an odd number of turns.
        quarter_turns: counter-clockwise, any integer.
        mirror: left and right swapped before turning.

    Returns:
        A contiguous array; the input itself where nothing changes.
    """
    turned = array[:, ::-1] if mirror else array
    return np.ascontiguousarray(np.rot90(turned, quarter_turns % 4))


def turn_boxes(
    boxes: np.ndarray, size: tuple[int, int], quarter_turns: int, mirror: bool
) -> np.ndarray:
    """(N, 4) boxes x0 y0 x1 y1 where `turn_and_flip` takes them in an image of (height, width)."""
    x0, y0, x1, y1 = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).T
    height, width = size
    if mirror:
        x0, x1 = width - x1, width - x0
    for _ in range(quarter_turns % 4):
        x0, y0, x1, y1 = y0, width - x1, y1, width - x0
        height, width = width, height
    return np.stack([x0, y0, x1, y1], axis=1)
