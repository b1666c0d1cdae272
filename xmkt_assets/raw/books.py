"""The books of loading: the ledger of files and the quarantine of rows, column by column. Names and types only.

Who writes them is ``load``; both are written in the transaction that writes the rows they account for.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

LEDGER: Final = "raw.file_ledger"
QUARANTINE: Final = "raw.quarantine"
LEDGER_DESCRIPTION: Final = (
    "One row per partner file, with what became of its rows: rows_in = rows_loaded + rows_quarantined + "
    "rows_duplicate. Trap: an unreadable file has no rows_in; what it keeps of an earlier delivery is rows_kept."
)
QUARANTINE_DESCRIPTION: Final = (
    "One row per partner row that could not be used, as it came, with the reason and the next step. Trap: a file of "
    "which nothing could be read has one row without source_row; rows of a day held back are here, too."
)
LEDGER_SCHEMA: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "partner": pl.String,
    "feed": pl.String,
    "dt": pl.Date,
    "source_file": pl.String,
    "size_bytes": pl.Int64,
    "sha256": pl.String,
    "contract_version": pl.String,
    "status": pl.String,
    "rows_in": pl.Int64,
    "rows_loaded": pl.Int64,
    "rows_quarantined": pl.Int64,
    "rows_duplicate": pl.Int64,
    "rows_kept": pl.Int64,
    "note": pl.String,
    "run_id": pl.String,
    "loaded_at": pl.Datetime("us"),
}
LEDGER_COLUMNS: Final[Mapping[str, str]] = {
    "partner": "Firm that delivered the file",
    "feed": "Feed it belongs to",
    "dt": "Day of its folder",
    "source_file": "Path below the landing folder",
    "size_bytes": "Size as delivered",
    "sha256": "Hash of its bytes; the same file again changes nothing",
    "contract_version": "Version of the contract it was read by",
    "status": "loaded, partly quarantined, rejected, held back, empty or unreadable",
    "rows_in": "Rows found in it; empty where it could not be read",
    "rows_loaded": "Rows that are in the feed's table",
    "rows_quarantined": "Rows that are in quarantine",
    "rows_duplicate": "Rows whose key came better or later in the same delivery",
    "rows_kept": "Rows of an earlier delivery of this file that stay, because nothing in the new one could be used",
    "note": "What else is to be said, in words",
    "run_id": "Run that loaded it",
    "loaded_at": "When it was loaded (UTC)",
}
QUARANTINE_SCHEMA: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "partner": pl.String,
    "feed": pl.String,
    "dt": pl.Date,
    "source_file": pl.String,
    "source_row": pl.Int64,
    "source_line": pl.Int64,
    "column_name": pl.String,
    "reason": pl.String,
    "next_step": pl.String,
    "raw_text": pl.String,
    "run_id": pl.String,
    "quarantined_at": pl.Datetime("us"),
}
QUARANTINE_COLUMNS: Final[Mapping[str, str]] = {
    "partner": "Firm that delivered the row",
    "feed": "Feed it belongs to",
    "dt": "Day of its folder",
    "source_file": "File it came in, below the landing folder",
    "source_row": "Place of the row in the file, header not counted",
    "source_line": "Physical line on which it begins, header counted; empty for Parquet",
    "column_name": "First column with a fault; empty where the row as a whole is at fault",
    "reason": "What was found and what was wanted",
    "next_step": "What to do about it",
    "raw_text": "The row as it came, contacts and failed hashes not shown",
    "run_id": "Run that refused it",
    "quarantined_at": "When it was refused (UTC)",
}
