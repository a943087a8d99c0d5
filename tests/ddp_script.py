"""What each process of a data-parallel training does in a test: ``torchrun ... ddp_script.py FOLDER STORE STAGE``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from builders import make_split
from torch import nn
from torch.nn import functional as F
from toys import StopError

from logitcache.soft_targets import open_store
from logitcache.student.distributed import from_environment, train_distributed
from logitcache.student.feed import FeedOptions, ViewFeed
from logitcache.student.options import TrainingOptions
from logitcache.views import Renderer, ViewOptions

SAMPLES, CLASSES, BATCH, EPOCHS = 29, 3, 7, 3  # parts of 4 and 3 rows, and a last batch of one row
SPLIT = make_split(SAMPLES, CLASSES)
VIEWS = ViewOptions(kind="crop_flip", padding=1, count=2, seed=5)


class Plain(nn.Module):
    """A network without batch statistics, with a weight that no loss reaches."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, stride=2), nn.GroupNorm(2, 4)
        self.head, self.unused = nn.Linear(4, CLASSES), nn.Linear(2, 2)

    def forward(self, inputs):
        return self.head(self.norm(self.conv(inputs)).relu().mean(dim=(2, 3)))


class Scaled(nn.Module):
    """An objective with a parameter of its own that it uses in the first two epochs; it refuses rows that stand in."""

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, outputs, batch, epoch):
        if batch.share == 0:
            raise RuntimeError("a row that stands in for none has no loss")
        logits = outputs.logits * self.log_scale.exp() if epoch < 2 else outputs.logits
        return F.cross_entropy(logits, batch.labels)


class Noting(ViewFeed):
    """Notes which rows count in each epoch, and stops before a step where that is asked for."""

    stop_at = None

    def rendered(self, epoch, start=0):
        for step, shown in enumerate(super().rendered(epoch, start), start):
            if epoch * self.steps + step == self.stop_at:
                raise StopError
            yield shown

    def batch(self, shown, epoch):
        if shown.share > 0:
            self.shown.append((epoch, shown.rows.tolist()))
        return super().batch(shown, epoch)


def accuracy(network):
    with torch.no_grad():
        inputs = next(Renderer(SPLIT, ViewOptions()).stream([(torch.arange(SAMPLES), 0)], SAMPLES)).inputs
        return float((network(inputs).argmax(1) == SPLIT.labels).float().mean()) * 100


def learn(folder, world, *, seed=0, stop_at=None):
    """Train; the state that is left, and what was seen."""
    torch.manual_seed(seed)
    network, goal = Plain(), Scaled()
    renderer = Renderer(SPLIT, VIEWS)
    feed = Noting(renderer, None, FeedOptions(BATCH, 3, 2, world.rank, world.size))
    feed.stop_at, feed.shown = stop_at, []
    folder.mkdir(parents=True, exist_ok=True)
    outcome = train_distributed(
        network,
        feed,
        goal,
        TrainingOptions(epochs=EPOCHS, batch=BATCH, learning_rate=0.05, checkpoint_seconds=0, ema=0.5),
        folder=folder,
        evaluate=accuracy,
        seed=1,
        world=world,
    )
    said = {"shown": feed.shown, "loss": outcome.loss, "accuracy": outcome.test_accuracy}
    return {**network.state_dict(), "scale": goal.log_scale.detach()}, said


def read(world, url, stage):
    """The rows and logits of each batch of two epochs, from a store in windows that do not fit in memory."""
    soft = open_store(url, stage=stage).soft_targets(memory=2 * 8 * CLASSES * 4)
    feed = ViewFeed(Renderer(SPLIT, VIEWS), None, FeedOptions(BATCH, 3, 2, world.rank, world.size), soft=soft)
    found = []
    for epoch in range(2):
        feed.prefetch(epoch)
        batches = ((shown, feed.batch(shown, epoch)) for shown in feed.rendered(epoch))
        found += [(epoch, shown.rows.tolist(), batch.teacher.tolist()) for shown, batch in batches if shown.share > 0]
    return found


def main(folder, *places):
    with from_environment("cpu") as world:
        # ranks start from other weights, which rank 0's replace
        state, said = learn(folder / "whole", world, seed=world.rank)
        try:
            learn(folder / "stopped", world, seed=world.rank, stop_at=7)
        except StopError:
            world.wait()
        resumed, _ = learn(folder / "stopped", world, seed=5)
        said["resumed"] = all(torch.equal(state[name], resumed[name]) for name in state)
        said["read"] = read(world, *places)
        torch.save(state, folder / f"weights{world.rank}.pt")
        (folder / f"said{world.rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
