import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from logitcache.student import losses

ROWS, CLASSES = 7, 5


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def logits(seed, scale=3.0):
    """Student and teacher logits and labels, float64."""
    rng = np.random.default_rng(seed)
    student, teacher = rng.normal(size=(2, ROWS, CLASSES)) * scale + rng.normal()
    return student, teacher, rng.integers(0, CLASSES, ROWS)


def numpy_ce(student, labels, smoothing):
    target = np.eye(CLASSES)[labels] * (1 - smoothing) + smoothing / CLASSES
    return -(target * np.log(softmax(student))).sum(axis=1).mean()


def numpy_kl(student, teacher, tau):
    p_t, p_s = softmax(teacher / tau), softmax(student / tau)
    return tau**2 * (p_t * (np.log(p_t) - np.log(p_s))).sum(axis=1).mean()


def tensor(array):
    return torch.tensor(array, dtype=torch.float32)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), smoothing=st.sampled_from([0.0, 0.1, 0.7]))
def test_ce_is_the_formula(seed, smoothing):
    student, _, labels = logits(seed)
    expected = numpy_ce(student, labels, smoothing)
    given_rows = losses.ce_rows(tensor(student), torch.tensor(labels), smoothing)
    assert losses.ce(tensor(student), torch.tensor(labels), smoothing).item() == pytest.approx(expected, rel=1e-5)
    assert given_rows.shape == (ROWS,)
    assert given_rows.mean().item() == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), tau=st.sampled_from([0.5, 1.0, 4.0, 20.0, 150.0]))
def test_kl_is_the_formula(seed, tau):
    student, teacher, _ = logits(seed)
    value = losses.kl(tensor(student), tensor(teacher), tau).item()
    # float32 leaves about 1e-7 of each log-probability, which tau**2 magnifies
    assert value == pytest.approx(numpy_kl(student, teacher, tau), rel=1e-4, abs=1e-6 * tau**2)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_mse_is_the_mean_over_batch_and_classes(seed):
    student, teacher, _ = logits(seed)
    expected = ((student - teacher) ** 2).mean()
    assert losses.mse(tensor(student), tensor(teacher)).item() == pytest.approx(expected, rel=1e-5)


CASES = {
    "ce": (lambda s, t, y: losses.ce(s, y), lambda s, t, y: numpy_ce(s, y, 0.0)),
    "smoothed": (lambda s, t, y: losses.ce(s, y, 0.1), lambda s, t, y: numpy_ce(s, y, 0.1)),
    "kl 1": (lambda s, t, y: losses.kl(s, t, 1.0), lambda s, t, y: numpy_kl(s, t, 1.0)),
    "kl 4": (lambda s, t, y: losses.kl(s, t, 4.0), lambda s, t, y: numpy_kl(s, t, 4.0)),
    "mse": (lambda s, t, y: losses.mse(s, t), lambda s, t, y: ((s - t) ** 2).mean()),
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_finite_differences_of_the_formulas(case):
    loss, formula = CASES[case]
    student, teacher, labels = logits(1)
    leaf = tensor(student).requires_grad_()
    loss(leaf, tensor(teacher), torch.tensor(labels)).backward()
    step = 1e-6
    for row, column in [(0, 0), (3, 4), (6, 2)]:
        up, down = student.copy(), student.copy()
        up[row, column] += step
        down[row, column] -= step
        slope = (formula(up, teacher, labels) - formula(down, teacher, labels)) / (2 * step)
        assert leaf.grad[row, column].item() == pytest.approx(slope, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0, 20.0, 1000.0])
def test_kls_gradient_is_that_of_kim_et_al(tau):
    student, teacher, _ = logits(2)
    leaf = tensor(student).requires_grad_()
    losses.kl(leaf, tensor(teacher), tau).backward()
    expected = tau * (softmax(student / tau) - softmax(teacher / tau)) / ROWS
    np.testing.assert_allclose(leaf.grad.numpy(), expected, rtol=2e-3, atol=2e-8 * tau)


def test_kl_at_a_large_temperature_is_half_the_centred_squared_difference():
    student, teacher, _ = logits(3, scale=1.0)
    difference = student - teacher
    difference -= difference.mean(axis=1, keepdims=True)
    expected = (difference**2).sum(axis=1).mean() / (2 * CLASSES)
    assert losses.kl(tensor(student), tensor(teacher), 100.0).item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("case", CASES)
def test_extreme_logits_give_finite_losses_and_gradients(case, scale):
    student, teacher, labels = logits(4, scale=1.0)
    leaf = tensor(student * scale).requires_grad_()
    value = CASES[case][0](leaf, tensor(teacher * scale), torch.tensor(labels))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(leaf.grad).all()
    assert value.item() >= -1e-6


@pytest.mark.parametrize("case", CASES)
def test_autocast_and_bf16_logits_leave_float32_inside(case):
    student, teacher, labels = logits(5)
    half = tensor(student).bfloat16()
    expected = CASES[case][0](half.float(), tensor(teacher), torch.tensor(labels))
    with torch.autocast("cpu", torch.bfloat16):
        value = CASES[case][0](half, tensor(teacher), torch.tensor(labels))
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


@pytest.mark.parametrize("loss", [lambda s, t: losses.kl(s, t, 4.0), losses.mse])
def test_a_student_that_agrees_has_no_loss_and_teachers_get_no_gradient(loss):
    student, teacher, _ = logits(6)
    leaf, other = tensor(student).requires_grad_(), tensor(teacher).requires_grad_()
    loss(leaf, other).backward()
    assert other.grad is None
    assert loss(leaf, leaf).item() == pytest.approx(0, abs=1e-5)
