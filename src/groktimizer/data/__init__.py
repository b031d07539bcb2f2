"""Real data: tables inside pinned wheels, their copies in a cache, and the user's own files."""

from groktimizer.data.own import read_table
from groktimizer.data.rows import SHIPPED, Rows, digest_of, is_file, rows_of
from groktimizer.data.tables import TABLES, Samples, Table, fetch, load, standardise
from groktimizer.data.wheels import DataError, Wheel, cache_directory

__all__ = [
    "SHIPPED",
    "TABLES",
    "DataError",
    "Rows",
    "Samples",
    "Table",
    "Wheel",
    "cache_directory",
    "digest_of",
    "fetch",
    "is_file",
    "load",
    "read_table",
    "rows_of",
    "standardise",
]
