"""Results: an append-only record of anything that was computed, named by the hash of its specification."""

from groktimizer.results.files import StoreError, make_directory, write_bytes, write_json
from groktimizer.results.identity import canonical_json, identity, plain
from groktimizer.results.provenance import provenance
from groktimizer.results.record import COMPARISON, FAILURE, FIGURE, FIT, PREDICTION, RUN, DamagedRecord, Record
from groktimizer.results.store import Store, read

__all__ = [
    "COMPARISON",
    "FAILURE",
    "FIGURE",
    "FIT",
    "PREDICTION",
    "RUN",
    "DamagedRecord",
    "Record",
    "Store",
    "StoreError",
    "canonical_json",
    "identity",
    "make_directory",
    "plain",
    "provenance",
    "read",
    "write_bytes",
    "write_json",
]
