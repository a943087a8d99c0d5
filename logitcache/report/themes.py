"""Colours of the page and of figures, light and dark: those of Okabe and Ito, told apart with any colour vision."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DARK", "INK", "LIGHT", "MUTED", "Theme"]

MUTED, INK = -1, -2
"""The numbers of a series that steps back and of one that stands before all others: no colours of their own."""


@dataclass(frozen=True)
class Theme:
    """Colours of one look of the page."""

    name: str
    ink: str
    muted: str
    grid: str
    page: str
    """Behind the figure; fills hollow markers."""
    series: tuple[str, ...]

    def shade(self, number: int) -> str:
        """The colour of a series; numbers beyond the last begin again."""
        plain = {MUTED: self.muted, INK: self.ink}
        return plain[number] if number in plain else self.series[number % len(self.series)]

    def turn(self, number: int) -> int:
        """How often the colours have begun again before this series: another marker or dash tells it apart."""
        return max(number, 0) // len(self.series)

    @property
    def colours(self) -> tuple[str, ...]:
        """All of them, in the same order in every theme."""
        return (self.ink, self.muted, self.grid, self.page, *self.series)


LIGHT = Theme(
    "light", "#1b1f24", "#5b6570", "#d9dee4", "#ffffff",
    ("#d55e00", "#b8860b", "#56b4e9", "#0072b2", "#8a5cc4", "#009e73", "#cc6f9f", "#4d4d4d"),
)  # fmt: skip
DARK = Theme(
    "dark", "#e8ebef", "#9aa4af", "#343b44", "#171b20",
    ("#ff8a3d", "#e6c229", "#8fd0ff", "#3d9be0", "#b596f0", "#2fcf9f", "#f0a3c8", "#b8bec5"),
)  # fmt: skip
