"""Results: an append-only record per run, named by the hash of its specification."""

from groktimizer.results.files import StoreError, make_directory, write_bytes, write_json
from groktimizer.results.identity import canonical_json, identity, plain
from groktimizer.results.provenance import provenance
from groktimizer.results.record import DamagedRecord, Record
from groktimizer.results.store import Store

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
