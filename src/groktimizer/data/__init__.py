"""Real data: tables inside pinned wheels, their copies in a cache, and the user's own files."""

from groktimizer.data.own import read_table
from groktimizer.data.tables import TABLES, Samples, Table, fetch, load, standardise
from groktimizer.data.wheels import DataError, Wheel, cache_directory

__all__ = [
    "TABLES",
    "DataError",
    "Samples",
    "Table",
    "Wheel",
    "cache_directory",
    "fetch",
    "load",
    "read_table",
    "standardise",
]
