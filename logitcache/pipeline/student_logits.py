"""Keep the logits and features of trained students in a store, where the recipe or ``--save-logits`` asks for it."""

from __future__ import annotations

from logitcache.pipeline.context import RunContext
from logitcache.sweep import STUDENTS_STORE, finished_runs, save_logits

__all__ = ["keep_logits"]


def keep_logits(context: RunContext) -> None:
    """Write what ``DIR/students.zarr`` lacks of the students that are trained; nothing unless it is asked for.

    Raises:
        CheckError: of some students it could not be written; that of all others is.
    """
    if not context.recipe.sweep.save_logits:
        return
    runs = context.runs()
    done = [record for record in finished_runs(context.out, runs).values() if record["status"] == "done"]
    if not done:
        return
    rows = sum(len(context.splits[name]) for name in ("train", "test") if name in context.splits)
    title = f"logits of {len(done)} students"
    with context.screen.step(title), context.screen.bar(title, rows * len(done), "rows") as bar:
        saved = save_logits(context.sweep(), runs, bar.advance)
    context.screen.say(f"  {context.out / STUDENTS_STORE}: {saved.written} blocks written, {saved.found} were there")
