"""Many students in one training: the same as one by one, whenever it is interrupted."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from builders import make_split
from torch import nn
from torch.nn import functional as F
from toys import StopError, ce, lines, options, same_tensors, same_weights, timeless

from logitcache.errors import InputError
from logitcache.models import build_model
from logitcache.student.feed import FeedOptions, ViewFeed
from logitcache.student.objectives import ObjectiveOptions, objective
from logitcache.student.stack import LoopLearner, StackedLearner, choose_way, train_stack
from logitcache.student.stack import training as stacking
from logitcache.student.training import Member, train
from logitcache.views import Renderer, ViewOptions

SAMPLES, CLASSES, BATCH = 24, 3, 8
EPOCHS, STEPS = 2, 3


class Teacher:
    """Logits that are a function of row and view."""

    whole, window, staged = True, None, False

    def prefetch(self, view):
        pass

    def gather(self, rows, view):
        return torch.stack([rows.sin(), rows.cos(), rows * 0 + view], dim=1).float()


class Stopping(ViewFeed):
    """Stops before a step, counted over epochs."""

    stop_at: int | None = None

    def rendered(self, epoch, start=0):
        for step, shown in enumerate(super().rendered(epoch, start), start):
            if epoch * self.steps + step == self.stop_at:
                raise StopError
            yield shown


RENDERER = Renderer(make_split(SAMPLES, CLASSES), ViewOptions(kind="crop_flip", padding=1, count=2, seed=5))
TABLES = ({"loss": "ce"}, {"loss": "ctkd", "alpha": 0.5}, {"loss": "kl", "tau": 4})
SEEDS = (0, 0, 1)


def networks(shift=0):
    made = []
    for seed in range(3):
        torch.manual_seed(seed + shift)
        made.append(build_model("cnn-4-4", CLASSES, RENDERER.split.shape))
    return made


def feeds(stop_at=None):
    soft = Teacher()
    made = [Stopping(RENDERER, None, FeedOptions(BATCH, seed, 2), soft=soft) for seed in SEEDS]
    for each in made:
        each.stop_at = stop_at
    return made


def goals():
    return [objective(ObjectiveOptions.model_validate(table)) for table in TABLES]


def members(folder, **changes):
    rates = (0.05, 0.02, 0.03)
    made = [
        Member(options(epochs=EPOCHS, learning_rate=rate, **changes), seed, folder / str(number))
        for number, (rate, seed) in enumerate(zip(rates, SEEDS, strict=True))
    ]
    for member in made:
        member.folder.mkdir(parents=True, exist_ok=True)
    return made


def accuracy(network):
    assert not network.training
    with torch.no_grad():
        rows = torch.arange(SAMPLES)
        inputs = next(RENDERER.stream([(rows, 0)], SAMPLES)).inputs
        return (network(inputs).argmax(1) == RENDERER.split.labels).float().mean().item() * 100


def run(folder, *, stop_at=None, shift=0, way="stacked", progress=None, **changes):
    made = networks(shift)
    outcomes = train_stack(
        made,
        feeds(stop_at),
        goals(),
        members(folder, **changes),
        checkpoint=folder / "group" / "checkpoint.safetensors",
        evaluate=accuracy,
        progress=progress,
        way=way,
    )
    return made, outcomes


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Trainings that nobody stopped."""
    made = {}

    def of(**settings):
        key = tuple(sorted(settings.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("whole")
            made[key] = (*run(folder, **settings), folder)
        return made[key]

    return of


@pytest.mark.parametrize("stop_at", range(EPOCHS * STEPS))
@pytest.mark.parametrize(
    "settings", [{"way": "stacked"}, {"way": "stacked", "optimizer": "adamw", "ema": 0.9}, {"way": "loop"}]
)
def test_stopped_before_any_step_a_stack_resumes_to_identical_weights_and_metrics(tmp_path, whole, stop_at, settings):
    expected, outcomes, folder = whole(**settings)
    with pytest.raises(StopError):
        run(tmp_path, stop_at=stop_at, **settings)
    assert (tmp_path / "group" / "checkpoint.safetensors").exists() == (stop_at > 0)
    resumed, again = run(tmp_path, shift=9 if stop_at else 0, **settings)
    for member in range(3):
        assert same_weights(resumed[member], expected[member])
        assert timeless(lines(tmp_path / str(member))) == timeless(lines(folder / str(member)))
        assert again[member].test_accuracy == outcomes[member].test_accuracy


@pytest.mark.parametrize("way", ["stacked", "loop"])
@pytest.mark.parametrize("ema", [None, 0.8])
def test_a_stack_ends_as_trainings_one_by_one(tmp_path, whole, way, ema):
    made, outcomes, _ = whole(way=way, ema=ema)
    for member, own, feed, goal, twin in zip(
        members(tmp_path, ema=ema), made, feeds(), goals(), networks(), strict=True
    ):
        expected = train(twin, feed, goal, member.options, folder=member.folder, evaluate=accuracy, seed=member.seed)
        for name, value in own.state_dict().items():
            torch.testing.assert_close(value, twin.state_dict()[name], rtol=1e-3, atol=1e-4)
        number = int(member.folder.name)
        assert outcomes[number].loss == pytest.approx(expected.loss, rel=1e-3)


def test_progress_and_metrics_are_each_members_own(tmp_path):
    seen = []
    run(tmp_path, progress=lambda number, record: seen.append((number, record)))
    assert [(number, record.epoch) for number, record in seen] == [(n, e) for e in (1, 2) for n in range(3)]
    for number in range(3):
        assert lines(tmp_path / str(number)) == [vars(record) for n, record in seen if n == number]
    assert [record.learning_rate for _, record in seen[:3]] == pytest.approx([0.05, 0.02, 0.03])


@pytest.mark.parametrize("fast", ["stacked", "loop"])
def test_the_faster_way_is_taken_noted_and_kept(tmp_path, monkeypatch, fast):
    slow = {"stacked": LoopLearner, "loop": StackedLearner}[fast]
    monkeypatch.setattr(stacking, "_seconds", lambda learner, batches, steps: 1.0 + isinstance(learner, slow))
    with pytest.raises(StopError):
        run(tmp_path, stop_at=2, way="auto")
    assert (tmp_path / "group" / "checkpoint.way").read_text() == f"{fast}\n"
    monkeypatch.setattr(stacking, "choose_way", lambda *_: pytest.fail("measured again"))
    run(tmp_path, way="auto")


def test_a_damaged_note_is_refused(tmp_path):
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "checkpoint.way").write_text("sideways\n")
    with pytest.raises(InputError, match=r"checkpoint.way says 'sideways', which is none of stacked, loop; delete it"):
        run(tmp_path, way="auto")


def test_measuring_changes_nothing(tmp_path):
    made, made_goals = networks(), goals()
    before = copy.deepcopy([each.state_dict() for each in (*made, *made_goals)])
    batches = [next(feed.epoch(0)) for feed in feeds()]
    state = torch.get_rng_state()
    assert choose_way(made, made_goals, [each.options for each in members(tmp_path)], batches) in {"stacked", "loop"}
    after = [each.state_dict() for each in (*made, *made_goals)]
    assert all(same_tensors(*pair) for pair in zip(before, after, strict=True))
    assert all(value.grad is None for each in made for value in each.parameters())
    assert torch.equal(torch.get_rng_state(), state)


class Peeking(nn.Module):
    """A network that vmap cannot run: what it does depends on values."""

    def __init__(self, *, draws=False):
        super().__init__()
        self.draws, self.head = draws, nn.Linear(math.prod(RENDERER.split.shape), CLASSES)

    def forward(self, inputs):
        logits = self.head(inputs.flatten(1))
        if self.draws:
            return F.dropout(logits, 0.5, self.training)
        return logits * 2 if logits.sum().item() > 0 else logits


def test_networks_that_vmap_cannot_run_train_in_a_loop():
    batch = next(feeds()[0].epoch(0))
    made = [Peeking(), Peeking()]
    assert choose_way(made, [ce, ce], [options()] * 2, [batch, batch]) == "loop"


def test_networks_that_draw_unseen_are_refused_when_they_are_tried():
    batch = next(feeds()[0].epoch(0))
    made = [Peeking(draws=True), Peeking(draws=True)]
    with pytest.raises(InputError, match="do not stack: they draw random numbers"):
        choose_way(made, [ce, ce], [options()] * 2, [batch, batch])


def test_a_checkpoint_of_another_stack_is_refused(tmp_path):
    with pytest.raises(StopError):
        run(tmp_path, stop_at=4)
    with pytest.raises(InputError, match="other options"):
        run(tmp_path, weight_decay=0.5)
