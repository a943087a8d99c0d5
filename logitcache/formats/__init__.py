"""Logits from and to other systems.

A **source** is logits in someone else's files, opened by ``open_source`` whatever their layout; a **sink** is such a
layout written from a store by ``export``. Sources say how many views, samples and classes they have and give whole
float32 rows or sparse ones; what a layout cannot say, such as the augmentation or the teacher, stays unknown.
"""

from logitcache.formats.records import Source, SourceOptions
from logitcache.formats.sinks import SinkOptions, export
from logitcache.formats.sources import open_source

__all__ = ["SinkOptions", "Source", "SourceOptions", "export", "open_source"]
