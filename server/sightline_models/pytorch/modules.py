"""The networks of the contract: uint8 images or token ids in, embeddings of length 1 or boxes out.

Place in the flow: a loaded network -> `EmbedderModule` or `DetectorModule` -> `export`. The one rule: whatever an image
needs from uint8 levels to the answer is in here, so that PyTorch's answers are those of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from sightline_models.adoption import Normalization
from sightline_models.detections import TOP_BOXES
from sightline_models.input_steps import InputSteps
from sightline_models.tokenizer import TextTokenizer

Tower = Callable[[torch.Tensor], torch.Tensor]
"""From pixels float32 [B, 3, H, W], or token ids int64 [B, length], to vectors [B, D]."""
Heads = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From pixels float32 [B, 3, H, W] to logits [B, rows, classes], and boxes [B, rows, 4] as centre and size in 0..1."""


@dataclass(frozen=True, slots=True)
class LoadedTower:
    """An image tower with its weights; `network` holds the parameters that `forward` uses."""

    network: torch.nn.Module
    forward: Tower
    steps: InputSteps


@dataclass(frozen=True, slots=True)
class LoadedTextTower:
    """A text tower with its weights, its number of tokens, and its tokenizer with that number.

    `forward` goes from token ids int64 [B, length] to vectors [B, D].
    """

    network: torch.nn.Module
    forward: Tower
    tokenizer: TextTokenizer


@dataclass(frozen=True, slots=True)
class LoadedDetector:
    """A detector with its weights; `labels` has one for each class."""

    network: torch.nn.Module
    forward: Heads
    steps: InputSteps
    labels: tuple[str, ...]


class PixelModule(torch.nn.Module):
    """Turns uint8 [B, H, W, 3] into a network's own numbers, float32 [B, 3, H, W]."""

    def __init__(self, normalization: Normalization) -> None:
        super().__init__()
        levels = list(zip(normalization.mean, normalization.std, strict=True))
        factor = [1 / (normalization.scale * std) for _, std in levels]
        self.register_buffer("factor", torch.tensor(factor, dtype=torch.float32).reshape(3, 1, 1))
        shift = torch.tensor([mean / std for mean, std in levels], dtype=torch.float32)
        self.register_buffer("shift", shift.reshape(3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The normalized pixels."""
        return images.permute(0, 3, 1, 2).to(torch.float32) * self.factor - self.shift


class EmbedderModule(torch.nn.Module):
    """uint8 [B, H, W, 3] -> float32 [B, D] of length 1."""

    def __init__(self, tower: LoadedTower, normalization: Normalization) -> None:
        super().__init__()
        self.pixels, self.network, self._tower = PixelModule(normalization), tower.network, tower.forward

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The embeddings."""
        return torch.nn.functional.normalize(self._tower(self.pixels(images)), dim=1)


class TextModule(torch.nn.Module):
    """Token ids int64 [B, length] -> float32 [B, D] of length 1."""

    def __init__(self, tower: LoadedTextTower) -> None:
        super().__init__()
        self.network, self._tower = tower.network, tower.forward

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The embeddings."""
        return torch.nn.functional.normalize(self._tower(tokens), dim=1)


class DetectorModule(torch.nn.Module):
    """uint8 [B, H, W, 3] -> boxes float32 [B, n, 4] as corners in 0..1, scores float32 [B, n], labels int32 [B, n].

    The score of a row is the sigmoid of its best class, and the rows are those of the best scores, best first.
    """

    def __init__(self, detector: LoadedDetector, normalization: Normalization) -> None:
        super().__init__()
        self.pixels, self.network, self._heads = PixelModule(normalization), detector.network, detector.forward

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The best rows."""
        logits, boxes = self._heads(self.pixels(images))
        best, labels = logits.max(dim=2)
        scores, order = best.sigmoid().topk(min(boxes.shape[1], TOP_BOXES), dim=1)
        centre, reach = boxes[..., :2], boxes[..., 2:] * 0.5
        corners = torch.cat([centre - reach, centre + reach], dim=2).clamp(0, 1)
        picked = corners.gather(1, order.unsqueeze(2).expand(-1, -1, 4))
        return picked, scores, labels.gather(1, order).to(torch.int32)
