"""What each measure of ``logitcache stats`` tells and needs, for its help: known without loading any of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["MEASURES", "About", "lines"]


@dataclass(frozen=True)
class About:
    """One measure."""

    text: str
    needs: tuple[str, ...] = ()
    """What it needs beside logits."""
    named: bool = False
    """Whether it is made only where it is named."""


MEASURES: Mapping[str, About] = {
    "moments": About("mean, variance, skewness, kurtosis; row means and norms"),
    "histogram": About("histograms and quantiles of logits and margins"),
    "agreement": About("accuracy, confusion, margins and means by class", ("labels",)),
    "tau": About("at each tau entropy, confidence, calibration, NLL; the best tau"),
    "topk": About("at each tau what the k largest hold and would keep"),
    "covariance": About("covariance of logits, its spectrum and effective rank"),
    "labels": About("samples that contradict their label, label noise", ("labels",)),
    "penultimate": About("norms, scatter, neural collapse, components", ("features",)),
    "plane": About("projection of three classes", ("labels", "features", "last layer")),
    "pair": About("KL and JS at each tau, distance, who is right", ("--against",)),
    "similarity": About("CKA and Procrustes distance", ("--against", "features of both")),
    "ensemble": About("accuracy and diversity of several teachers", ("--against",), named=True),
    "fidelity": About("an encoded store beside a lossless one", ("--against",), named=True),
    "views": About("what views of a sample tell beyond each other", ("views",), named=True),
}
"""In the order of the catalogue of measures."""


def lines() -> Iterator[str]:
    """A line for each measure, and before them how to read these."""
    yield "Measures, in brackets what they need beside logits, * only where named:"
    width = max(map(len, MEASURES)) + 2
    for name, about in MEASURES.items():
        needs = f" [{', '.join(about.needs)}]" if about.needs else ""
        yield f"  {name + '*' * about.named:{width}}{about.text}{needs}"
