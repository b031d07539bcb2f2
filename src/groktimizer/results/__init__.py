"""Results: an append-only record per run, named by the hash of its specification."""

from .files import StoreError, make_directory, write_bytes, write_json
from .identity import canonical_json, identity, plain
from .provenance import provenance
from .record import DamagedRecord, Record
from .store import Store

__all__ = [
    "DamagedRecord",
    "Record",
    "Store",
    "StoreError",
    "canonical_json",
    "identity",
    "make_directory",
    "plain",
    "provenance",
    "write_bytes",
    "write_json",
]
