"""The timing of epochs takes kinds in turn and says how far it is."""

from types import SimpleNamespace

from logitcache.pipeline import timing
from logitcache.pipeline.timing import TimingOptions, measure_epochs
from logitcache.student.training import TrainingOptions


def test_progress_comes_once_an_epoch_and_the_first_round_does_not_count(monkeypatch):
    monkeypatch.setattr(timing, "ViewFeed", lambda *_, **__: None)
    taken = iter(range(100))
    monkeypatch.setattr(timing, "_time_one", lambda *_: float(next(taken)))
    options = TimingOptions(model="cnn-4-4", training=TrainingOptions(epochs=1), rounds=2)
    seen = []
    renderer = SimpleNamespace(split=None, device="cpu")
    seconds = measure_epochs(options, renderer, None, None, 0, progress=lambda: seen.append(1))
    assert len(seen) == options.timed_epochs
    assert list(seconds.values()) == [[3.0, 6.0], [4.0, 7.0], [5.0, 8.0]]
