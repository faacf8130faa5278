"""What networks learn from: sMAPE, MASE, MAPE and quantile loss, where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from archfab.tasks.forecasting.windows import Batch


def loss_of(kind: str, forecast: torch.Tensor, quantiles: Sequence[float], batch: Batch) -> torch.Tensor:
    """The mean over all known steps of a batch, as one number.

    smape: 2 |y - f| / (|y| + |f|), the denominator without a gradient. mape: |y - f| / |y|. mase: |y - f| over the
    series' naive error. quantiles: twice the quantile loss over the same, its mean over the levels. Denominators are at
    least the naive error, or values near 0 would have all of the gradient.
    """
    known = ~batch.truth.isnan()
    truth = batch.truth.masked_fill(~known, 0.0)
    scale = batch.scale[:, None]
    if kind == "quantiles":
        off = truth[:, None, :] - forecast
        level = torch.as_tensor(quantiles, dtype=off.dtype, device=off.device)[None, :, None]
        each = 2 * torch.maximum(level * off, (level - 1) * off).mean(1) / scale
    else:
        off = (forecast - truth).abs()
        if kind == "smape":
            each = 2 * off / torch.maximum(truth.abs() + forecast.detach().abs(), scale)
        else:
            each = off / (torch.maximum(truth.abs(), scale) if kind == "mape" else scale)
    return each.masked_fill(~known, 0.0).sum() / known.sum().clamp(min=1)
