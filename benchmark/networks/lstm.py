"""Bidirectional LSTM over log-mel frames with attention pooling.

Mirsamadi, Barsoum and Zhang 2017, doi 10.1109/ICASSP.2017.7952552.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class AttentiveLstm(nn.Module):
    """Optional convolutional stem, bidirectional LSTM on packed sequences, attention pooling, output."""

    def __init__(
        self, bands: int, classes: int, *, units: int, layers: int, dropout: float, stem: bool, pool: int = 4
    ):
        """Make the network.

        Args:
            bands: columns of a frame.
            units: of each direction.
            stem: two convolutions that halve the time before the LSTM; else `pool` frames are averaged.
        """
        super().__init__()
        self.pool = pool
        self.stem = nn.Sequential(
            nn.Conv1d(bands, 2 * units, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv1d(2 * units, 2 * units, 5, stride=2, padding=2), nn.ReLU(),
        ) if stem else None  # fmt: skip
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(
            2 * units if stem else bands, units, layers, batch_first=True, dropout=between, bidirectional=True
        )
        self.attention = nn.Linear(2 * units, 1)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * units, classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (n, classes) of x (n, frames, bands), of which the first `lengths` (n,) count.

        What follows a clip's end counts for nothing: its logits don't depend on its batch.
        """
        lengths = lengths.to(x.device)
        x = _silenced(x.transpose(1, 2), lengths)
        if self.stem is None:
            shares = _silenced(torch.ones_like(x[:, :1]), lengths)
            mean = partial(nn.functional.avg_pool1d, kernel_size=self.pool, ceil_mode=True)
            x = mean(x) / mean(shares).clamp(min=1 / self.pool)  # of a clip's own frames alone
            lengths = (lengths + self.pool - 1) // self.pool
        else:
            for convolution in self.stem[::2]:
                lengths = (lengths + 1) // 2
                x = _silenced(convolution(x).relu(), lengths)
        x = x.transpose(1, 2)
        with torch.autocast(x.device.type, enabled=False):  # packed sequences of bfloat16 are slow or refused
            packed = pack_padded_sequence(x.float(), lengths.cpu(), batch_first=True, enforce_sorted=False)
            hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])
        score = self.attention(hidden).squeeze(2).masked_fill(_behind(x.shape[1], lengths), -torch.inf)
        return self.output(self.dropout((score.softmax(1)[:, :, None] * hidden).sum(1)))


def _behind(frames: int, lengths: Tensor) -> Tensor:
    """Return (n, frames): whether a frame lies behind its clip's end."""
    return torch.arange(frames, device=lengths.device) >= lengths[:, None]


def _silenced(x: Tensor, lengths: Tensor) -> Tensor:
    """Return x (n, columns, frames) with zeros behind each clip's end."""
    return x.masked_fill(_behind(x.shape[2], lengths)[:, None], 0.0)
