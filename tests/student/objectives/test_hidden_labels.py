"""The cross-entropy of batches in which some labels are hidden."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from logitcache.errors import InputError
from logitcache.student import losses
from logitcache.student.batches import HIDDEN, Outputs

SHOWN = torch.tensor([True, False, True, True, False, False])


@pytest.fixture
def hidden(batch):
    return replace(batch, labels=batch.labels.where(SHOWN, torch.tensor(HIDDEN)), labelled=3.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_cross_entropy_is_the_mean_over_rows_whose_label_is_shown(value, hidden, outputs, batch, smoothing):
    expected = losses.ce(outputs.logits[SHOWN], batch.labels[SHOWN], smoothing).item()
    assert value(hidden, loss="ce", label_smoothing=smoothing) == pytest.approx(expected, rel=1e-6)
    soft = losses.kl(outputs.logits, batch.teacher, 4.0).item()
    both = value(hidden, loss="kl", tau=4, alpha=0.25, label_smoothing=smoothing)
    assert both == pytest.approx(0.75 * expected + 0.25 * soft, rel=1e-6), "the teacher is heard in all rows"


def test_hidden_rows_pull_at_nothing(make, hidden, outputs):
    logits = outputs.logits.clone().requires_grad_()
    make(loss="ce", label_smoothing=0.1)(Outputs(logits), hidden, 0.0).backward()
    assert (logits.grad[~SHOWN] == 0).all()
    assert (logits.grad[SHOWN] != 0).all()


def test_where_no_label_is_shown_the_cross_entropy_is_zero_and_so_is_its_gradient(make, hidden, outputs):
    none = replace(hidden, labels=torch.full_like(hidden.labels, HIDDEN), labelled=0.0)
    logits = outputs.logits.clone().requires_grad_()
    loss = make(loss="ce")(Outputs(logits), none, 0.0)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_a_part_of_a_batch_divides_by_its_share_of_the_labelled_rows(value, hidden):
    assert value(replace(hidden, labelled=1.5), loss="ce") == pytest.approx(2 * value(hidden, loss="ce"), rel=1e-6)


@pytest.mark.parametrize("loss", ["dkd", "nkd", "wsld"])
def test_losses_that_part_the_classes_by_the_label_are_refused(value, hidden, loss):
    with pytest.raises(InputError, match="some labels are hidden; show all of them"):
        value(hidden, loss=loss)


def test_mixed_samples_are_refused(value, mixed, hidden):
    both = replace(mixed, labels=hidden.labels, labelled=3.0)
    with pytest.raises(InputError, match="labels are hidden and samples are mixed"):
        value(both, loss="ce")
