"""Logits on the move: from other systems' files into a store, and from one store into another."""

from logitcache.transfer.copying import CopyOptions, CopyOutcome, copy_store
from logitcache.transfer.importing import ImportOptions, ImportOutcome, import_logits

__all__ = ["CopyOptions", "CopyOutcome", "ImportOptions", "ImportOutcome", "copy_store", "import_logits"]
