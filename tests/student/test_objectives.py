import pytest
import torch
from pydantic import ValidationError

from logitcache.errors import InputError
from logitcache.student import losses
from logitcache.student.batches import Batch
from logitcache.student.objectives import ObjectiveOptions, objective

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
TEACHER = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
PARTNERS = torch.tensor([3, 2, 1, 0, 1, 2])
WEIGHT = torch.tensor([1.0, 0.0, 0.5, 0.2, 0.9, 0.4])
BATCH = Batch(inputs=torch.zeros(6, 1, 2, 2), labels=LABELS, teacher=TEACHER)


def value(batch=BATCH, **options):
    return objective(ObjectiveOptions(**options))(LOGITS, batch).item()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    ("loss", "soft"), [("kl", losses.kl(LOGITS, TEACHER, 4.0)), ("mse", losses.mse(LOGITS, TEACHER))]
)
def test_alpha_is_the_share_of_the_distillation_loss(loss, soft, alpha):
    hard = losses.ce(LOGITS, LABELS, 0.1)
    expected = ((1 - alpha) * hard + alpha * soft).item()
    assert value(loss=loss, tau=4, alpha=alpha, label_smoothing=0.1) == pytest.approx(expected, rel=1e-6)


def test_mixed_samples_mix_the_cross_entropies_of_both_labels():
    mixed = Batch(BATCH.inputs, LABELS, TEACHER, PARTNERS, WEIGHT)
    target = WEIGHT[:, None] * torch.eye(4)[LABELS] + (1 - WEIGHT)[:, None] * torch.eye(4)[PARTNERS]
    expected = -(target * LOGITS.log_softmax(1)).sum(1).mean().item()
    assert value(mixed, loss="ce") == pytest.approx(expected, rel=1e-6)
    assert value(mixed, loss="mse") == value(loss="mse")


def test_soft_targets_that_are_missing_are_asked_for():
    with pytest.raises(InputError, match=r"KL τ=4 needs teacher logits"):
        value(Batch(BATCH.inputs, LABELS), loss="kl", tau=4)
    assert value(Batch(BATCH.inputs, LABELS), loss="kl", tau=4, alpha=0) == pytest.approx(value(loss="ce"))


@pytest.mark.parametrize(
    ("options", "label", "needs_teacher"),
    [
        ({"loss": "ce"}, "CE", False),
        ({"loss": "ce", "label_smoothing": 0.1}, "CE, smoothing 0.1", False),
        ({"loss": "kl", "tau": 4}, "KL τ=4", True),
        ({"loss": "kl", "tau": 0.5, "alpha": 0.5}, "KL τ=0.5, α=0.5", True),
        ({"loss": "kl", "tau": 4, "alpha": 0.9, "label_smoothing": 0.1}, "KL τ=4, α=0.9, smoothing 0.1", True),
        ({"loss": "mse"}, "MSE", True),
        ({"loss": "mse", "alpha": 0}, "MSE, α=0", False),
    ],
)
def test_labels_name_what_matters(options, label, needs_teacher):
    record = ObjectiveOptions(**options)
    assert (record.label, record.needs_teacher) == (label, needs_teacher)


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("tau", 0),
        ("tau", -1),
        ("tau", 1001),
        ("tau", float("nan")),
        ("alpha", -0.1),
        ("alpha", 1.1),
        ("label_smoothing", 1),
        ("label_smoothing", -0.1),
        ("loss", "kld"),
    ],
)
def test_numbers_out_of_range_are_faults_of_their_key(key, number):
    with pytest.raises(ValidationError) as caught:
        ObjectiveOptions(**{"loss": "kl", key: number})
    assert caught.value.errors()[0]["loc"] == (key,)
