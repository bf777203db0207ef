"""What the microscope and the camera add: uneven light, defocus, dirt, noise, a scale bar, JPEG."""

from __future__ import annotations

import cv2
import numpy as np


def noise_field(rng: np.random.Generator, side: int = 512) -> np.ndarray:
    """(side, side) float32 cell texture of mean 0 and deviation 1: grains of 3 to 12 px."""
    white = rng.standard_normal((side, side), dtype=np.float32)
    layers = [_normal(cv2.GaussianBlur(white, (0, 0), sigma)) for sigma in (1.5, 3.5, 6.0)]
    return _normal(layers[0] + layers[1] + layers[2])


def smooth_field(rng: np.random.Generator, size: tuple[int, int], grain: int = 5) -> np.ndarray:
    """(H, W) float32 slow hills and valleys within about -1..1, ``grain`` of them across."""
    coarse = rng.uniform(-1, 1, (grain, grain + 1)).astype(np.float32)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def _normal(field: np.ndarray) -> np.ndarray:
    return (field - field.mean()) / field.std()


def illumination(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 lamp, 1 at its brightest: a slope and a fall-off to the corners."""
    y = np.linspace(-1, 1, size[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, size[1], dtype=np.float32)[None]
    strength = rng.choice([0.02, 0.06, 0.15])
    slope = rng.normal(0, 0.6 * strength, 2)
    fall = rng.uniform(0, strength)
    light = 1 + np.float32(slope[0]) * y + np.float32(slope[1]) * x
    light = light - np.float32(fall / 2) * (x * x + y * y)
    return light / light.max()


def halo(red: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same thickness with the bright or dark fringe that defocus leaves round cells."""
    small = cv2.resize(red, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(small, (0, 0), rng.uniform(1.2, 4))
    wide = cv2.resize(wide, red.shape[::-1], interpolation=cv2.INTER_LINEAR)
    amount = rng.uniform(-0.25, 0.22)
    return np.maximum(cv2.addWeighted(red, 1 - amount, wide, amount, 0), 0)


def add_dirt(red: np.ndarray, purple: np.ndarray, rng: np.random.Generator) -> None:
    """Drop specks, smudges and a ghost of burst cells onto the two thickness maps, in place."""
    height, width = red.shape
    for _ in range(rng.poisson(rng.choice([2, 15, 60]) * min(1, red.size / 1.9e6))):
        target = purple if rng.random() < 0.6 else red
        spot = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(1, 7)), int(rng.integers(1, 5)))
        dark = float(rng.uniform(0.05, 0.5))
        cv2.ellipse(target, spot, axes, rng.uniform(0, 180), 0, 360, dark, -1, cv2.LINE_AA)
    if rng.random() < 0.35:
        cloud = np.clip(smooth_field(rng, red.shape, int(rng.integers(3, 8))) - 0.3, 0, None)
        purple += np.float32(rng.uniform(0.01, 0.1)) * cloud
    if rng.random() < 0.06:
        _add_hair(red, rng)


def _add_hair(red: np.ndarray, rng: np.random.Generator) -> None:
    """One curved fibre, in place."""
    height, width = red.shape
    ends, along = rng.uniform(0, 1, (3, 2)) * (width, height), np.linspace(0, 1, 30)[:, None]
    curve = (1 - along) ** 2 * ends[0] + 2 * along * (1 - along) * ends[1] + along**2 * ends[2]
    dark = float(rng.uniform(0.1, 0.5))
    cv2.polylines(red, [curve.astype(np.int32)], False, dark, int(rng.integers(1, 4)), cv2.LINE_AA)


def defocus(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image through the lens: always a little soft, at times blurred wholly or in regions."""
    softness = rng.choice([0.7, 1.0, 1.5, 2.2], p=[0.4, 0.35, 0.2, 0.05])
    image = cv2.GaussianBlur(image, (0, 0), softness)
    if rng.random() > 0.2:
        return image
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), rng.uniform(1, 2.5))
    blurred = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    weight = np.clip(2 * smooth_field(rng, image.shape[:2], 4) - 0.4, 0, 1)[..., None]
    return image + weight * (blurred - image)


def add_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise of 1 to 6 grey levels, mostly brightness, partly colour; to (H, W, 3) uint8."""
    level = rng.choice([1.0, 2.0, 3.0, 5.0], p=[0.3, 0.35, 0.25, 0.1])
    grains = rng.standard_normal(image.shape[:2], dtype=np.float32)
    grains = cv2.GaussianBlur(grains, (0, 0), 0.6) * np.float32(1.8 * level)
    half = (image.shape[0] // 2, image.shape[1] // 2, 3)
    grains_of_colour = rng.standard_normal(half, dtype=np.float32)
    colour = cv2.resize(grains_of_colour, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    noisy = cv2.addWeighted(image, 1, colour, float(0.5 * level), 0) + grains[..., None]
    return cv2.convertScaleAbs(np.maximum(noisy, 0))


def draw_scale_bar(image: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a bar with its caption into the lower right corner, in place."""
    height, width = image.shape[:2]
    unit = max(1, round(width / 800))
    length, margin = width // 7, width // 60
    right, bottom = width - margin, height - margin
    white = (255, 255, 255)
    top = max(0, bottom - 24 * unit)
    cv2.rectangle(image, (right - length - 4 * unit, top), (right, bottom), white, -1)
    line = bottom - 5 * unit
    cv2.line(image, (right - length, line), (right - 4 * unit, line), (0, 0, 0), unit)
    for x in (right - length, right - 4 * unit):
        cv2.line(image, (x, line - 3 * unit), (x, line + 3 * unit), (0, 0, 0), unit)
    caption, place = f"{rng.choice([10, 20])} um", (right - length * 2 // 3, line - 5 * unit)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(image, caption, place, font, 0.4 * unit, (0, 0, 0), unit, cv2.LINE_AA)


def through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """The image after JPEG compression at ``quality`` (1 to 100): block and colour artefacts."""
    _, buffer = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded a line before
    return np.ascontiguousarray(decoded[..., ::-1])
