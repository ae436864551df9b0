"""Record what OpenCV 4.10 paints for random polygons: polygons.safetensors beside this file.

    pip install numpy safetensors opencv-python-headless==4.10.0.84 && python make.py

4.8, the reference's, and 4.9 paint the same.
points: int32 (all, 2), x and y; counts: int64 (n), points of each polygon;
masks: uint8 (n, 384), np.packbits of (48, 64).
"""

from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import save_file

HEIGHT, WIDTH, N = 48, 64, 120
assert cv2.__version__.startswith("4.10."), cv2.__version__

rng = np.random.default_rng(20261126)
polygons, masks = [], []
for i in range(N):
    n = int(rng.integers(1, 12))
    beyond = (0, 3, 30)[i % 3]  # how far points may lie outside
    xs, ys = (rng.integers(-beyond, side + beyond, n) for side in (WIDTH, HEIGHT))
    polygon = np.stack([xs, ys], axis=1).astype(np.int32)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.polylines(mask, [polygon], True, 1, 1)
    cv2.fillPoly(mask, [polygon], 1)
    polygons.append(polygon)
    masks.append(np.packbits(mask))
save_file(
    {
        "points": np.concatenate(polygons),
        "counts": np.array([len(polygon) for polygon in polygons]),
        "masks": np.array(masks),
    },
    Path(__file__).with_name("polygons.safetensors"),
)
