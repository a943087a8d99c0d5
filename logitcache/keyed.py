"""Keyed random numbers: every draw is a pure function of its counters.

A draw is a hash of (seed, counter, counter, ...), so it is the same on CPU and GPU, in any order, batch or
process, and nothing has to be remembered to repeat it. All arithmetic is on int64 tensors, which wrap
around alike on every device. The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood
2014, "Fast splittable pseudorandom number generators").
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["below", "choose", "draw", "permute", "shuffled", "uniform"]

Counter = int | Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def _signed(bits: int) -> int:
    """The int64 that has the given 64 bits."""
    bits &= (1 << 64) - 1
    return bits - (1 << 64) if bits >> 63 else bits


def _shift_right(x: Tensor, count: int) -> Tensor:
    """Logical shift to the right; int64 tensors only have the arithmetic one."""
    return (x >> count) & ((1 << (64 - count)) - 1)


def _mix(x: Tensor) -> Tensor:
    """The SplitMix64 finaliser on 64-bit patterns held in int64."""
    x = (x ^ _shift_right(x, 30)) * _signed(_MIX_1)
    x = (x ^ _shift_right(x, 27)) * _signed(_MIX_2)
    return x ^ _shift_right(x, 31)


def draw(seed: int, *counters: Counter, device: torch.device | str = "cpu") -> Tensor:
    """64 random bits for each element of the broadcast counters, as int64.

    Args:
        seed: the key; any integer.
        counters: integers or int64 tensors that broadcast together.
        device: where the result lives when all counters are plain integers.
    """
    tensors = [c for c in counters if isinstance(c, Tensor)]
    place = tensors[0].device if tensors else torch.device(device)
    state = torch.tensor(_signed(seed * _GOLDEN + _MIX_1), dtype=torch.int64, device=place)
    for counter in counters:
        value = counter if isinstance(counter, Tensor) else _signed(counter)
        state = _mix(state * _signed(_GOLDEN) + value + _signed(_GOLDEN))
    return state


def uniform(bits: Tensor) -> Tensor:
    """Uniform float64 in [0, 1) from 64 random bits: the upper 53 of them."""
    return _shift_right(bits, 11).double() * 2.0**-53


def below(bits: Tensor, size: Counter) -> Tensor:
    """Uniform int64 in [0, size) from 64 random bits, for sizes up to 2**31 (bias at most size / 2**32)."""
    return _shift_right(_shift_right(bits, 32) * size, 32)


def permute(position: Tensor, size: int, seed: int, *counters: Counter, rounds: int = 24) -> Tensor:
    """Where ``position`` in [0, size) goes under a keyed permutation of [0, size).

    Swap-or-not shuffle (Hoang, Morris and Rogaway 2012, "An enciphering scheme based on a card shuffle",
    algorithm 1): any size, no table, elementwise, one permutation for each value of the counters.
    """
    key = draw(seed, *counters, device=position.device)
    for turn in range(rounds):
        turn_key = draw(seed, key, turn)
        mirror = torch.remainder(below(turn_key, size) - position, size)
        swap = draw(seed, turn_key, torch.maximum(position, mirror)) & 1
        position = torch.where(swap.bool(), mirror, position)
    return position


def shuffled(size: int, seed: int, *counters: int) -> Tensor:
    """A keyed permutation of all of [0, size) at once, as an int64 tensor."""
    return torch.argsort(draw(seed, *counters, torch.arange(size)), stable=True)


def choose(size: int, count: int, seed: int, *counters: int) -> Tensor:
    """``count`` keyed members of [0, size) in ascending order; a larger count only adds members."""
    return torch.sort(shuffled(size, seed, *counters)[:count]).values
