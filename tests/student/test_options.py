"""Options of a training."""

import pytest
from pydantic import ValidationError

from logitcache.student.options import TrainingOptions


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"epochs": 0}, "epochs"),
        ({"ema": 1.0}, "ema"),
        ({"ema": 0.0}, "ema"),
        ({"precision": "fp8"}, "precision"),
        ({"checkpoint_seconds": -1}, "checkpoint_seconds"),
        ({"optimiser": "sgd"}, "optimiser"),
    ],
)
def test_faults_name_their_key(change, key):
    with pytest.raises(ValidationError) as caught:
        TrainingOptions(**{"epochs": 1, **change})
    assert caught.value.errors()[0]["loc"][0] == key


def test_later_options_enter_a_record_only_where_they_change_something():
    plain = TrainingOptions(epochs=1).record(without={"checkpoint_seconds"})
    assert {"ema", "compile", "checkpoint_seconds"} & plain.keys() == set()
    assert plain["epochs"] == 1
    assert plain["milestones"] == [0.5, 0.75]
    changed = TrainingOptions(epochs=1, ema=0.9, compile=True).record()
    assert (changed["ema"], changed["compile"]) == (0.9, True)
    assert "ema" not in TrainingOptions(epochs=1, ema=0.9).record(without={"ema"})


def test_what_only_looks_at_a_training_never_enters_a_record():
    plain, looking = (TrainingOptions(epochs=1, measure_train=each) for each in (False, True))
    assert looking != plain
    assert looking.record() == plain.record()
    assert looking.record(without={"ema"}) == plain.record(without={"ema"})
