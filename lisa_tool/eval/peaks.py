"""What known GPUs can do at best, as their makers say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peak:
    """bytes_s: of memory, per second. flops: per second in 16 bit, accumulated in float32, not sparse."""

    bytes_s: float
    flops: float


PEAKS = {
    "NVIDIA H200": Peak(4800e9, 989e12),
    "NVIDIA H100 80GB HBM3": Peak(3350e9, 989e12),
    "NVIDIA A100-SXM4-80GB": Peak(2039e9, 312e12),
    "NVIDIA GeForce RTX 4090": Peak(1008e9, 165e12),
    "NVIDIA GeForce RTX 3060": Peak(360e9, 25.5e12),
}
"""By the whole name that the driver gives: variants of a card differ by half."""


def peak_of(device_name: str) -> Peak | None:
    """None for a card that is not in the table; nothing is guessed."""
    return PEAKS.get(device_name)
