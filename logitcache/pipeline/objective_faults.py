"""Faults between a student's objective and what the rest of the recipe gives it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from logitcache.cache_job import CacheOptions
from logitcache.errors import Fault
from logitcache.pipeline.faults import show
from logitcache.soft_targets import CombineOptions
from logitcache.student.objectives import ObjectiveOptions, TermOptions
from logitcache.views import ViewOptions

__all__ = ["Given", "objective_faults", "tau_faults"]


@dataclass(frozen=True)
class Given:
    """What a recipe gives to the objectives of one group; None where its table is at fault itself."""

    cache: CacheOptions | None
    views: ViewOptions | None
    teachers: int
    combine: CombineOptions
    epochs: int
    targets: Sequence[str] = ("views",)
    labelled: bool = False
    """Whether some labels are hidden."""

    @property
    def stored(self) -> bool:
        """Whether anything is read from the store."""
        return set(self.targets) != {"online"}


def objective_faults(key: str, objective: ObjectiveOptions, given: Given) -> Iterator[Fault]:
    """What an objective needs and does not get."""
    yield from _schedule_faults(key, objective, given)
    terms = _active(key, objective)
    for place, term in terms:
        if not given.teachers:
            allowed = "needs a teacher; the recipe has none, give it a [[teachers]]"
            yield Fault(f"{place}.loss", show(term.loss), allowed)
            continue
        if given.stored:
            yield from _store_faults(place, term, given)
        yield from _teacher_faults(place, term, given)
        yield from _label_faults(place, term, given)
    if terms and given.cache is not None and "train" not in given.cache.splits:
        yield Fault("cache.splits", show(given.cache.splits), f"must have 'train': {key} reads its soft targets")


def tau_faults(cache: CacheOptions | None, key: str, tau: float, given: str = "") -> Iterator[Fault]:
    """A temperature below tau_min, where the encoding proves no bound there; ``given`` is the value it comes from."""
    if cache is None:
        return
    encoding = cache.encoding
    if encoding.promises and tau < encoding.tau_min and not encoding.proves(tau):
        allowed = (
            f"must be at least cache.encoding.tau_min = {encoding.tau_min:g}: {encoding.kind} proves no bound "
            "below; lower tau_min, or set kind = 'uniform'"
        )
        value = given or f"{tau:g}"
        why = "" if value == f"{tau:g}" else f"reads the teacher at temperature {tau:g} too, which "
        yield Fault(key, value, why + allowed)


def _active(key: str, objective: ObjectiveOptions) -> list[tuple[str, TermOptions]]:
    """The terms that count, with their keys."""
    each = [(key, objective), *((f"{key}.also.{place}", term) for place, term in enumerate(objective.also))]
    return [(place, term) for place, term in each if any(term is used for _, used in objective.terms)]


def _schedule_faults(key: str, objective: ObjectiveOptions, given: Given) -> Iterator[Fault]:
    """Epochs that never come."""
    if objective.until is not None and objective.until >= given.epochs:
        yield Fault(f"{key}.until", str(objective.until), f"must be less than training.epochs = {given.epochs}")
    if objective.warmup > given.epochs:
        yield Fault(f"{key}.warmup", f"{objective.warmup:g}", f"must be at most training.epochs = {given.epochs}")


def _store_faults(key: str, term: TermOptions, given: Given) -> Iterator[Fault]:
    """What is not stored, or not exactly enough."""
    if term.taus:
        where, value = (f"{key}.tau", f"{term.tau:g}") if term.kind.tau else (f"{key}.loss", show(term.loss))
        yield from tau_faults(given.cache, where, min(term.taus), value)
    cache = given.cache
    if cache is None:
        return
    if term.whole and not cache.encoding.whole:
        why = "needs every logit, and cache.encoding.kind = 'topk' keeps the largest only; "
        if term.kind.whole:
            yield Fault(f"{key}.loss", show(term.loss), why + "use loss 'kl'")
        else:
            yield Fault(f"{key}.standardize", "true", why + "leave it out")
    if "features" in term.kind.needs and not cache.features:
        yield Fault("cache.features", "false", f"must be true: {key} reads penultimate features")


def _teacher_faults(key: str, term: TermOptions, given: Given) -> Iterator[Fault]:
    """Too many teachers, too few, or combined in a way that does not serve the loss."""
    kind, count, loss = term.kind, given.teachers, show(term.loss)
    if "online" in given.targets and {"features", "members"} & set(kind.needs):
        yield Fault(f"{key}.loss", loss, "needs more of a teacher than targets = 'online' gives: its logits, combined")
    if "features" in kind.needs and count != 1:
        yield Fault(f"{key}.loss", loss, f"reads the features of one teacher, not of {count}; name one by teachers")
    if "members" in kind.needs:
        if count < 2:
            yield Fault(f"{key}.loss", loss, f"weighs several teachers against each other; there is {count}")
        elif term.values["limit"] * count < 1:
            allowed = f"must be at least 1/{count}, or the weights of {count} teachers cannot add up to 1"
            yield Fault(f"{key}.limit", f"{term.values['limit']:g}", allowed)
    if given.combine.combine == "mean_probs" and "logits" in kind.needs:
        yield from _mean_probs_faults(key, term, given.combine)


def _mean_probs_faults(key: str, term: TermOptions, combine: CombineOptions) -> Iterator[Fault]:
    """Losses that a mean of probabilities at one temperature does not serve."""
    if term.standardize or (term.whole and not term.taus):
        allowed = "a mean of probabilities has no logits to match; use combine = 'mean_logits', or loss 'kl'"
        yield Fault(f"{key}.loss", show(term.loss), allowed)
    elif set(term.taus) - {combine.tau} and set(term.taus) == {term.tau}:
        allowed = f"must be {combine.tau:g}, the tau at which probabilities are averaged (combine.tau)"
        yield Fault(f"{key}.tau", f"{term.tau:g}", allowed)
    elif set(term.taus) - {combine.tau}:
        several = ", ".join(f"{tau:g}" for tau in sorted(set(term.taus)))
        allowed = (
            f"reads the teacher at temperatures {several}, and a mean of probabilities serves combine.tau = "
            f"{combine.tau:g} only; use combine = 'mean_logits'"
        )
        yield Fault(f"{key}.loss", show(term.loss), allowed)


def _label_faults(key: str, term: TermOptions, given: Given) -> Iterator[Fault]:
    """Losses that part the classes by the label, of samples that have two or none."""
    if "labels" not in term.kind.needs:
        return
    if given.labelled:
        allowed = "parts the classes by the sample's label, and labelled hides some; leave one of them out"
        yield Fault(f"{key}.loss", show(term.loss), allowed)
    if given.views is not None and given.views.mix is not None:
        allowed = "parts the classes by the sample's label, and views.mix gives a sample two; leave one of them out"
        yield Fault(f"{key}.loss", show(term.loss), allowed)
