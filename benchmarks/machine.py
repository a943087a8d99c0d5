"""What figures were measured on: the machine without its name, versions, and the command."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

__all__ = ["evidence"]

PACKAGES = ("torch", "torchvision", "numpy", "zarr", "numcodecs", "logitcache")
FLAGS = ("bf16", "amx", "avx512f", "avx2")


def evidence(*packages: str) -> dict[str, Any]:
    """Machine, versions and command as JSON values; versions of these packages beside those of all figures."""
    return {
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "architecture": platform.machine(),
            "cpu_flags": cpu_flags(),
            "threads": torch.get_num_threads(),
            "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in (*PACKAGES, *packages)}},
        "command": " ".join(["python", *sys.argv]),
    }


def cpu_flags(source: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Those of the processor's flags that decide how fast a network runs on it."""
    text = source.read_text(encoding="utf-8") if source.exists() else ""
    flags = next((line.split(":")[1].split() for line in text.splitlines() if line.startswith("flags")), [])
    return sorted(flag for flag in flags if any(part in flag for part in FLAGS))
