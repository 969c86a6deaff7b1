"""Fashion-MNIST and a small network in NumPy: the learning part of the demo, without a word of Shoal."""

from __future__ import annotations

import gzip
import pathlib
from dataclasses import dataclass

import numpy as np

DATA = pathlib.Path("/usr/share/datasets/fashion-mnist")

Weights = list[np.ndarray]


def load(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images as float32 rows of 784 values in 0..1, labels as int64; part is "train" (60,000) or "t10k" (10,000)."""
    images_path, labels_path = DATA / f"{part}-images-idx3-ubyte.gz", DATA / f"{part}-labels-idx1-ubyte.gz"
    if not images_path.exists():
        raise FileNotFoundError(f"{images_path} is missing; install the Debian package dataset-fashion-mnist")
    with gzip.open(images_path) as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(labels_path) as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return images.astype(np.float32) / 255, labels.astype(np.int64)


@dataclass(frozen=True)
class Config:
    """What the search varies."""

    learning_rate: float
    hidden: int
    batch: int


def new_weights(hidden: int, seed: int) -> Weights:
    rng = np.random.default_rng(seed)
    return [
        (rng.standard_normal((784, hidden)) * np.sqrt(2 / 784)).astype(np.float32),
        np.zeros(hidden, np.float32),
        (rng.standard_normal((hidden, 10)) * np.sqrt(2 / hidden)).astype(np.float32),
        np.zeros(10, np.float32),
    ]


def train(weights: Weights, images: np.ndarray, labels: np.ndarray, config: Config, seed: int) -> Weights:
    """One pass of plain SGD over the images in random order; returns new weights."""
    w1, b1, w2, b2 = (w.copy() for w in weights)
    order = np.random.default_rng(seed).permutation(len(images))
    for start in range(0, len(order), config.batch):
        rows = order[start : start + config.batch]
        x, y = images[rows], labels[rows]
        hidden = np.maximum(x @ w1 + b1, 0)
        logits = hidden @ w2 + b2
        error = np.exp(logits - logits.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(len(rows)), y] -= 1
        error *= config.learning_rate / len(rows)
        back = (error @ w2.T) * (hidden > 0)
        w2 -= hidden.T @ error
        b2 -= error.sum(axis=0)
        w1 -= x.T @ back
        b1 -= back.sum(axis=0)
    return [w1, b1, w2, b2]


def accuracy(weights: Weights, images: np.ndarray, labels: np.ndarray) -> float:
    w1, b1, w2, b2 = weights
    logits = np.maximum(images @ w1 + b1, 0) @ w2 + b2
    return float((logits.argmax(axis=1) == labels).mean())
