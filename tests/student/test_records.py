"""What is known of a training."""

import json
from dataclasses import asdict, replace

import pytest
from toys import lines

from logitcache.student.records import METRICS, EpochRecord, TrainMeasures, add_metrics, outcome, write_metrics


def record(epoch, loss=1.0, accuracy=None):
    return EpochRecord(epoch, loss, 0.1, 2.5, accuracy, 48)


def test_metrics_are_one_json_line_a_record(tmp_path):
    write_metrics(tmp_path / "new", [record(1, accuracy=50.0), record(2)])
    add_metrics(tmp_path / "new", record(3, loss=None))
    assert lines(tmp_path / "new") == [vars(record(1, accuracy=50.0)), vars(record(2)), vars(record(3, loss=None))]
    write_metrics(tmp_path / "new", [])
    assert (tmp_path / "new" / METRICS).read_text() == ""


def test_numbers_that_json_lacks_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_metrics(tmp_path, [record(1, loss=float("nan"))])


def test_an_outcome_sums_seconds_and_takes_the_last_and_the_best_accuracy():
    ended = outcome([record(1, accuracy=50.0), record(2, accuracy=70.0), record(3, loss=0.5, accuracy=60.0)])
    assert (ended.test_accuracy, ended.best_test_accuracy) == (60.0, 70.0)
    assert (ended.train_seconds, ended.epochs, ended.status, ended.loss) == (7.5, 3, "done", 0.5)


def test_a_training_whose_last_loss_is_none_diverged():
    ended = outcome([record(1), record(2, loss=None)])
    assert (ended.status, ended.loss, ended.test_accuracy, ended.best_test_accuracy) == ("diverged", None, None, None)
    assert json.loads(json.dumps(asdict(ended)))["epochs"] == 2


def test_an_outcome_has_the_last_epochs_measures_on_train_samples():
    measures = TrainMeasures(60.0, 0.5, 0.25, 3.0, 0.125)
    first, last = replace(record(1), train_accuracy=20.0, logit_mean=9.0), replace(record(2), **asdict(measures))
    assert outcome([first, last]).train == measures
    assert outcome([last, first]).train == TrainMeasures(20.0, 9.0)
    assert outcome([last, record(3, loss=None)]).train == TrainMeasures()
