"""How the runs of a sweep are trained together; nothing here changes what a run is, so nothing enters its id."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from logitcache.address import is_remote
from logitcache.factories import is_factory_name
from logitcache.records import Options
from logitcache.store import StageOptions
from logitcache.store.stage_options import STAGE_SIZE, parse_size
from logitcache.student.stack import Way

__all__ = ["SweepOptions"]


class SweepOptions(Options):
    """Which runs share a process or a step, what becomes of failures, and who is told of epochs.

    ``stack = "auto"`` follows what was measured. On a CPU a stack of small networks is no faster than one after
    another, and processes with one thread each are: there each run has a process of its own. On a GPU one small
    network leaves most of the device idle: there runs of one architecture train stacked, all in one process. The
    ``way`` in which a stack is stepped is measured when it begins, unless it is given.
    """

    stack: Literal["auto", "always", "never"] = Field("auto", description="train runs of one architecture in one step")
    way: Way | Literal["auto"] = Field(
        "auto", description="stacked: one kernel a layer for all runs; loop: one run after another; auto: measured"
    )
    members: int = Field(8, ge=2, le=256, description="largest number of runs in a stack")
    processes: int | None = Field(None, ge=1, description="processes; unset: one a core on a CPU, one on a GPU")
    retries: int = Field(1, ge=0, description="further attempts at a run that failed, in the same command")
    save_logits: bool = Field(False, description="keep students' logits and features in DIR/students.zarr")
    tensorboard: bool = Field(False, description="event files beside each run's metrics (extra tensorboard)")
    stage: Path | None = Field(
        None, description="folder on this machine for copies of shards, fetched ahead of training; unset: none"
    )
    stage_size: int | None = Field(None, description="most bytes of shards in it, as 50GB or 20GiB; unset: 50GB")
    hook: str | None = Field(None, description="module:function, called with run_id and record after each epoch")

    @field_validator("hook")
    @classmethod
    def _hook_is_a_name(cls, hook: str | None) -> str | None:
        if hook is not None and not is_factory_name(hook):
            raise ValueError("must be of the form module:function, for example mytracking:log")
        return hook

    @field_validator("stage", mode="before")
    @classmethod
    def _is_a_folder(cls, stage: Any) -> Any:
        if isinstance(stage, str) and (is_remote(stage) or not stage):
            raise ValueError("must be the name of a folder on this machine")
        return stage

    @field_validator("stage_size", mode="before")
    @classmethod
    def _is_a_size(cls, size: Any) -> int | None:
        return None if size is None else parse_size(size)

    @model_validator(mode="after")
    def _size_is_of_a_stage(self) -> SweepOptions:
        if self.stage_size is not None and self.stage is None:
            raise ValueError("stage_size is the size of a stage; say by stage which folder it is")
        return self

    @property
    def staging(self) -> StageOptions | None:
        """Where shards are staged, None where they are not."""
        return None if self.stage is None else StageOptions(self.stage, self.stage_size or STAGE_SIZE)

    def stacks(self, device: str) -> bool:
        """Whether runs on a device train stacked."""
        return self.stack == "always" or (self.stack == "auto" and device != "cpu")
