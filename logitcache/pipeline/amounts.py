"""Times, bytes and money as people say them, in plans."""

from __future__ import annotations

__all__ = ["money", "size", "span"]


def span(seconds: float) -> str:
    """Seconds, in a unit that leaves few digits."""
    for unit, length, last in (("s", 1, 120), ("min", 60, 120 * 60), ("h", 3600, 48 * 3600)):
        if seconds < last:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / (24 * 3600):.1f} days"


def size(count: float) -> str:
    """Bytes, in a unit that leaves few digits."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB" if count < 1000 else f"{count / 1000:.3g} PB"


def money(amount: float, currency: str = "") -> str:
    """An amount: whole where it is large, else with three digits."""
    text = f"{amount:,.0f}" if abs(amount) >= 100 else f"{amount:.3g}"
    return f"{text} {currency}".rstrip()
