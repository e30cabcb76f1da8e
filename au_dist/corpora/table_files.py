"""Tables as people save them, delimited text, spreadsheets and Parquet, read as rows of text."""

import datetime
import unicodedata
from collections.abc import Iterable
from io import BytesIO

from au_dist.core.errors import IngestError
from au_dist.corpora.rows import Rows, read_rows
from au_dist.corpora.tree import Entry

TEXTS = frozenset((".csv", ".tsv", ".txt"))
SPREADSHEETS = frozenset((".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"))
PARQUET = frozenset((".parquet",))

#: Suffixes of tables.
TABLES = TEXTS | SPREADSHEETS | PARQUET


def read_table(entry: Entry) -> tuple[Rows, tuple[str, ...]]:
    """Read a table; of a spreadsheet the first sheet that holds anything.

    Returns:
        The rows, the first of which is the header, and what a person should know.

    Raises:
        IngestError: It cannot be read, or its rows are not of one length.
    """
    if entry.suffix in TEXTS:
        rows, notes = read_rows(entry.text(), entry.where), tuple[str, ...]()
    else:
        try:
            rows, notes = _spreadsheet(entry) if entry.suffix in SPREADSHEETS else (_parquet(entry), ())
        except IngestError:
            raise
        except Exception as error:  # what a damaged file raises is its reader's choice
            raise IngestError(
                "The table cannot be read", where=entry.where, found=error, fix="Save it as CSV."
            ) from error
    # An accented letter may be one character or two, which nobody sees.
    composed = tuple(tuple(unicodedata.normalize("NFC", cell) for cell in row) for row in rows.cells)
    return Rows(rows.where, rows.lines, composed), notes


def _spreadsheet(entry: Entry) -> tuple[Rows, tuple[str, ...]]:
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_filelike(BytesIO(entry.read()))
    sheets = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in book.sheet_names}
    filled = {name: rows for name, rows in sheets.items() if any(cell != "" for row in rows for cell in row)}
    if not filled:
        raise IngestError("The table is empty", where=entry.where)
    name, rows = next(iter(filled.items()))
    others = [other for other in filled if other != name]
    notes = (f"{entry.name}: the sheet {name} was read; not {', '.join(others)}",) if others else ()
    return _rows(f"{entry.where}, sheet {name}", rows), notes


def _parquet(entry: Entry) -> Rows:
    import pyarrow.parquet as pq

    table = pq.read_table(BytesIO(entry.read()))
    columns = [table.column(name).to_pylist() for name in range(table.num_columns)]
    return _rows(entry.where, [table.column_names, *zip(*columns, strict=True)])


def _rows(where: str, rows: Iterable[Iterable[object]]) -> Rows:
    """Return rows of values as rows of text, numbered from 1, without the empty ones."""
    texts = [(line, tuple(_text(cell) for cell in row)) for line, row in enumerate(rows, 1)]
    texts = [(line, cells) for line, cells in texts if any(cells)]
    return Rows(where, tuple(line for line, _ in texts), tuple(cells for _, cells in texts))


def _text(cell: object) -> str:
    match cell:
        case None:
            return ""
        case float() if cell.is_integer():
            return str(int(cell))
        case datetime.timedelta():
            return str(cell.total_seconds())
        case datetime.time():
            return cell.isoformat()
    return str(cell).strip()
