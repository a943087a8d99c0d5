import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from logitcache.student.schedule import ScheduleOptions, rate_at


def rates(steps, **options):
    record = ScheduleOptions(learning_rate=1.0, **options)
    return [rate_at(record, step, steps) for step in range(steps)]


def test_constant_stays():
    assert rates(4, schedule="constant") == [1.0] * 4


def test_multistep_drops_at_its_fractions():
    expected = [1.0] * 5 + [0.1] * 3 + [0.01] * 2
    assert rates(10, schedule="multistep", milestones=(0.5, 0.8)) == pytest.approx(expected)


def test_cosine_goes_from_the_peak_towards_nothing():
    assert rates(4, schedule="cosine") == pytest.approx([1.0, 0.8535534, 0.5, 0.1464466])


def test_warm_up_rises_linearly_to_the_peak():
    assert rates(8, schedule="constant", warmup=0.5) == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 5)


@pytest.mark.parametrize("steps", [10, 97])
@pytest.mark.parametrize("warmup", [None, 0.15])
def test_one_cycle_is_torchs(steps, warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=steps, pct_start=warmup or 0.3, cycle_momentum=False
    )
    expected = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps - 1):
        optimizer.step()
        reference.step()
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates(steps, schedule="one_cycle", warmup=warmup) == pytest.approx(expected)


@given(
    schedule=st.sampled_from(["multistep", "cosine", "one_cycle", "constant"]),
    warmup=st.none() | st.floats(0, 0.9),
    steps=st.integers(1, 300),
)
def test_rates_are_positive_rise_once_and_never_pass_the_peak(schedule, warmup, steps):
    values = rates(steps, schedule=schedule, warmup=warmup)
    assert all(0 < value <= 1 + 1e-12 for value in values)
    peak = values.index(max(values))
    assert values[:peak] == sorted(values[:peak])
    assert values[peak:] == sorted(values[peak:], reverse=True)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"learning_rate": 0}, "learning_rate"),
        ({"schedule": "step"}, "schedule"),
        ({"milestones": (0.8, 0.5)}, "milestones"),
        ({"milestones": (0.5, 1.5)}, "milestones"),
        ({"gamma": 0}, "gamma"),
        ({"warmup": 1}, "warmup"),
    ],
)
def test_faults_name_their_key(change, key):
    with pytest.raises(ValidationError) as caught:
        ScheduleOptions(**change)
    assert caught.value.errors()[0]["loc"][0] == key
