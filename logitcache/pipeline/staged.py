"""What people are told of a stage: once why it takes no more, and at the end of a sweep what it was good for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from logitcache.pipeline.progress import Screen
from logitcache.store import Stage, StageOptions, Tally
from logitcache.sweep import Event, Listener, Staged

__all__ = ["told_of_stage"]


@contextmanager
def told_of_stage(screen: Screen, options: StageOptions | None, *, here: bool = True) -> Iterator[list[Listener]]:
    """Listeners of a sweep that say what becomes of its stage, none where it has none.

    Args:
        screen: says it.
        options: the sweep's stage.
        here: whether this machine has the stage, which is then made before anything is trained.

    Raises:
        InputError: it cannot be used.
    """
    if options is None:
        yield []
        return
    if here:
        Stage(options.folder, options.size, say=lambda _: None).prepare()  # whoever needs it says it
    tally, said = Tally(), set[str]()

    def listen(event: Event) -> None:
        nonlocal tally
        if isinstance(event, Staged):
            tally += event.tally
            for note in event.notes:
                if note not in said:
                    said.add(note)
                    screen.say(f"  {note}")

    try:
        yield [listen]
    finally:
        screen.say(f"  stage {options.folder}: {tally}")
