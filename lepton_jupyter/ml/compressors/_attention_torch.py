"""Attention heads of PyTorch models, really removed.

Runs in the kernel that holds the model. `nn.MultiheadAttention` can't have fewer heads than its width is divided into,
so one that loses heads becomes an `Attention` here. Those go whose weights together are small (that many may go: Michel
et al. 2019, "Are Sixteen Heads Really Better than One?").
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):  # type: ignore[misc]
    """What `nn.MultiheadAttention` is, with `kept` of its `heads` heads; called alike and answers alike."""

    #: PyTorch's encoder asks for these, and then calls us instead of its own kernel for whole layers.
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(self, whole: nn.MultiheadAttention, kept: list[int]) -> None:
        super().__init__()
        self.embed_dim, self.head_dim, self.num_heads = whole.embed_dim, whole.head_dim, len(kept)
        self.dropout, self.batch_first = whole.dropout, whole.batch_first
        self.heads, self.kept = whole.num_heads, kept
        rows = _rows(kept, whole.head_dim)
        biases = (None, None, None) if whole.in_proj_bias is None else whole.in_proj_bias.chunk(3)
        trains = next(whole.parameters()).requires_grad
        self.query, self.key, self.value = (
            _linear(weight[rows], None if bias is None else bias[rows], trains)
            for weight, bias in zip(_projections(whole), biases, strict=True)
        )
        self.out_proj = _linear(whole.out_proj.weight[:, rows], whole.out_proj.bias, trains)
        self.train(whole.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """See `nn.MultiheadAttention.forward`."""
        batched = query.dim() == 3
        swap = batched and not self.batch_first
        q, k, v = (
            self._split(project(each.transpose(0, 1) if swap else each if batched else each[None]))
            for project, each in ((self.query, query), (self.key, key), (self.value, value))
        )
        mask = self._mask(attn_mask, key_padding_mask, q)
        drop = self.dropout if self.training else 0.0
        weights: Tensor | None = None
        if need_weights:
            scores = q @ k.transpose(-1, -2) / math.sqrt(self.head_dim)
            weights = torch.softmax(scores if mask is None else scores + mask, -1)
            mixed = functional.dropout(weights, drop) @ v
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights if batched else weights[0]
        else:
            causal = is_causal and mask is None
            mixed = functional.scaled_dot_product_attention(q, k, v, mask, dropout_p=drop, is_causal=causal)
        answer = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return (answer.transpose(0, 1) if swap else answer if batched else answer[0]), weights

    def _split(self, each: Tensor) -> Tensor:
        """(batch, places, all heads) as (batch, heads, places, one head)."""
        return each.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _mask(self, attention: Tensor | None, padding: Tensor | None, query: Tensor) -> Tensor | None:
        """What is added to the scores: (batch, heads, places, places), or what broadcasts to that."""
        found = None
        if attention is not None:
            found = _added(attention, query)
            if found.dim() == 3:  # one for each head: (batch · heads, …)
                found = found.unflatten(0, (query.shape[0], -1))
                found = found[:, self.kept] if found.shape[1] == self.heads else found
        if padding is not None:
            padding = _added(padding if padding.dim() == 2 else padding[None], query)[:, None, None]
            found = padding if found is None else found + padding
        return found


def fewer_heads(model: nn.Module, share: float, heads: Mapping[str, int], fixed: Collection[str]) -> None:
    """Leave this share, rounded up, of the `heads` that each attention of the model had at first, by its name."""
    for name, module in list(model.named_modules()):
        if name not in heads or name in fixed or not isinstance(module, nn.MultiheadAttention | Attention):
            continue
        left = max(math.ceil(share * heads[name] - 1e-9), 1)
        if left >= module.num_heads or getattr(module, "bias_k", None) is not None:
            continue
        sizes = _sizes(module)
        kept = sorted(sizes.topk(left).indices.tolist())
        if isinstance(module, nn.MultiheadAttention):
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, Attention(module, kept))
        else:
            _drop(module, kept)
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and any(isinstance(each, Attention) for each in module.modules()):
            module.use_nested_tensor = False  # its kernel for padded sequences knows nn.MultiheadAttention only


def attentions(model: nn.Module) -> dict[str, int]:
    """The name of each attention, and its number of heads."""
    return {name: each.num_heads for name, each in model.named_modules() if isinstance(each, nn.MultiheadAttention)}


def _drop(module: Attention, kept: list[int]) -> None:
    rows = _rows(kept, module.head_dim)
    for name in ("query", "key", "value"):
        old: nn.Linear = getattr(module, name)
        bias = None if old.bias is None else old.bias[rows]
        setattr(module, name, _linear(old.weight[rows], bias, old.weight.requires_grad))
    old = module.out_proj
    module.out_proj = _linear(old.weight[:, rows], old.bias, old.weight.requires_grad)
    module.kept, module.num_heads = [module.kept[each] for each in kept], len(kept)


def _projections(whole: nn.MultiheadAttention) -> tuple[Tensor, Tensor, Tensor]:
    if whole.in_proj_weight is not None:
        query, key, value = whole.in_proj_weight.chunk(3)
        return query, key, value
    return whole.q_proj_weight, whole.k_proj_weight, whole.v_proj_weight


def _sizes(module: Any) -> Tensor:
    """For each head the sum of the squares of its weights."""
    if isinstance(module, Attention):
        parts = [each.weight for each in (module.query, module.key, module.value)]
    else:
        parts = list(_projections(module))
    parts.append(module.out_proj.weight.T)
    return sum((part.detach().float().square().sum(1).unflatten(0, (module.num_heads, -1)).sum(1) for part in parts),
               torch.zeros((), device=parts[0].device))  # fmt: skip


def _rows(kept: list[int], size: int) -> list[int]:
    return [head * size + at for head in kept for at in range(size)]


def _linear(weight: Tensor, bias: Tensor | None, trains: bool) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    made.weight = nn.Parameter(weight.detach().clone(), trains)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone(), trains)
    return made


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as what is added: where a bool is true, nothing is looked at."""
    if mask.dtype == torch.bool:
        return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, -math.inf)
    return mask.to(like.dtype)
