"""The explorer's section of the page: a gallery of real samples, and soft targets at any temperature."""

from __future__ import annotations

from html import escape
from pathlib import Path

from bokeh.document import Document

from logitcache.report.embedding import placed
from logitcache.report.explorer_marks import build, row_of
from logitcache.report.markup import note, paragraph, section
from logitcache.report.samples import KINDS, Samples, read_samples
from logitcache.report.thumbnails import Thumbnails, read_thumbnails

__all__ = ["explorer_section"]

_PICK = """<script>
(() => {
  const picks = [...document.querySelectorAll(".pick")];
  const press = (pick) => picks.forEach((one) => one.setAttribute("aria-pressed", String(one === pick)));
  picks.forEach((pick) => pick.addEventListener("click", () => {
    press(pick);
    for (const shown of Bokeh.documents) {
      const samples = shown.get_model_by_name("explorer-samples");
      if (samples != null) samples.selected.indices = [Number(pick.dataset.row)];
    }
  }));
  // figures are shown anew in other colours, with the first sample
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => press(picks[0]));
})();
</script>"""


def explorer_section(directory: Path) -> str:
    """The section of a run folder's samples; '' where ``samples.json`` is missing.

    Raises:
        InputError: ``samples.json`` or ``thumbnails.json`` is damaged.
    """
    samples = read_samples(directory)
    if samples is None or not samples.samples:
        return ""
    pictures = read_thumbnails(directory)
    rows = [
        row_of(
            one.sample,
            one.label,
            samples.names,
            logits,
            picture=_picture(samples, pictures, number),
            remark=KINDS[one.kind],
        )
        for number, (one, logits) in enumerate(zip(samples.samples, samples.logits, strict=True))
    ]
    explorer, document = build(samples.classes, samples.names, rows), Document()
    document.add_root(explorer.layout)
    document.js_on_event("document_ready", explorer.show)
    spoken = "Soft targets of the chosen sample by class, of the teacher as bars and of students as marks."
    text = (
        "Choose a sample and move the temperature: bars are the teacher's soft targets, softmax(logits / τ), marks are "
        "those of other networks, and the dashed frame is the hard label."
    )
    remark = (
        f"Samples of the {samples.split} split, clean view, chosen by {samples.names[0]}'s margin: the logit of the "
        "true class less the largest other one. Students are the best run of each objective."
    )
    shown = f'<div class="shown">{placed(explorer.layout, "explorer", spoken)}</div>'
    both = f'<div class="explorer"><div>{_gallery(samples, pictures)}</div>{shown}</div>'
    return section("Soft targets at any temperature", paragraph(text), both, note(remark))


def _picture(samples: Samples, pictures: Thumbnails, number: int) -> str:
    """The thumbnail of a sample, '' without."""
    return pictures.get((samples.split, samples.samples[number].sample), "")


def _gallery(samples: Samples, pictures: Thumbnails) -> str:
    """Buttons of all samples by why they were chosen, the first one pressed."""
    parts = []
    for kind, title in KINDS.items():
        numbers = [number for number, one in enumerate(samples.samples) if one.kind == kind]
        if numbers:
            picks = "".join(_pick(samples, number, _picture(samples, pictures, number)) for number in numbers)
            head = escape(title[0].upper() + title[1:])
            parts.append(f'<p class="gallery-name">{head}</p><div class="gallery">{picks}</div>')
    return "".join(parts) + _PICK


def _pick(samples: Samples, number: int, picture: str) -> str:
    """One button."""
    one = samples.samples[number]
    name = samples.classes[one.label] if one.label >= 0 else "label unknown"
    spoken = escape(f"sample {one.sample}, {name}")
    inside = f'<img src="{escape(picture)}" alt="">' if picture else f"<span>{escape(name)}</span>"
    pressed = "true" if number == 0 else "false"
    return (
        f'<button type="button" class="pick" data-row="{number}" aria-pressed="{pressed}" aria-label="{spoken}" '
        f'title="{spoken}">{inside}</button>'
    )
