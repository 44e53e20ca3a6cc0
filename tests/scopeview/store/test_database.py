"""The database answers each thread its own question, reads nothing else, and is refused when it is torn."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from scopeview.errors import IndexFormatError
from scopeview.store.manifest import DescribeRecord
from scopeview.store.reader import IndexReader
from tests.app.index import N_FEATURES, N_IMAGES, SmallIndex
from tests.scopeview.store.conftest import Changed


def test_threads_never_see_each_others_rows(reader: IndexReader) -> None:
    def ask(feature: int) -> bool:
        slot = reader.manifest.slots[feature % 7]
        return (
            reader.feature(slot.layer, feature, slot.token).feature == feature
            and [row.image_id for row in reader.images(after=feature % N_IMAGES, limit=1)]
            in ([feature % N_IMAGES + 1], [])
            and reader.sql("SELECT $n", {"n": feature}) == [(feature,)]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, [*range(N_FEATURES)] * 4))


def test_threads_may_all_begin_to_ask_at_once(small: SmallIndex) -> None:
    together = threading.Barrier(16)

    def ask(number: int) -> list[tuple[int]]:
        together.wait()
        return reader.sql("SELECT $n", {"n": number})

    for _ in range(10):  # each time none of the threads has a cursor yet
        with IndexReader(small.index_dir) as reader, ThreadPoolExecutor(16) as pool:
            assert [*pool.map(ask, range(16))] == [[(number,)] for number in range(16)]


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "COPY images TO '{folder}/out.parquet' (FORMAT parquet)",
        "EXPORT DATABASE '{folder}/out'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('{folder}/in.csv')",
        "SELECT * FROM '{folder}/in.csv'",
        "SELECT * FROM glob('/etc/*')",
        "ATTACH '{folder}/other.duckdb' AS other",
        "INSTALL httpfs",
        "LOAD '{folder}/some.duckdb_extension'",
        "SET enable_external_access = true",
        "CREATE TABLE more (n INTEGER)",
        "DELETE FROM images",
    ],
)
def test_a_query_reads_the_database_and_nothing_else(reader: IndexReader, tmp_path: Path, sql: str) -> None:
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    with pytest.raises(duckdb.Error):
        reader.sql(sql.format(folder=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_query_does_not_see_the_variables_of_the_program(reader: IndexReader) -> None:
    with pytest.raises(duckdb.Error, match="local_table does not exist"):
        reader.sql("SELECT * FROM local_table")


def test_a_missing_database_is_named(small: SmallIndex, reader: IndexReader) -> None:
    manifest = reader.manifest.model_copy(update={"database": "gone.duckdb"})
    with pytest.raises(IndexFormatError, match=r"gone\.duckdb is missing"):
        IndexReader(small.index_dir, manifest)


def test_missing_descriptions_are_named(small: SmallIndex, reader: IndexReader) -> None:
    record = DescribeRecord(
        database="described-gone.duckdb",
        vocabulary=None,
        without_names="no tokenizer",
        settings={},
        cofiring_every={},
    )
    manifest = reader.manifest.model_copy(update={"describe": record})
    with pytest.raises(IndexFormatError, match=r"described-gone\.duckdb is missing"):
        IndexReader(small.index_dir, manifest)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 1000])
def test_a_file_that_is_no_database_is_named(tmp_path: Path, reader: IndexReader, content: bytes) -> None:
    (tmp_path / "torn.duckdb").write_bytes(content)
    manifest = reader.manifest.model_copy(update={"database": "torn.duckdb"})
    with pytest.raises(IndexFormatError, match=r"torn\.duckdb is not a readable DuckDB database"):
        IndexReader(tmp_path, manifest)


def test_an_index_can_be_opened_again_while_it_is_open(small: SmallIndex, reader: IndexReader) -> None:
    with IndexReader(small.index_dir) as again:
        assert again.feature(3, 0) == reader.feature(3, 0)
        with pytest.raises(duckdb.Error):
            again.sql("SELECT * FROM read_text('/etc/passwd')")
    assert reader.feature(3, 0).n_active > 0


def test_closing_lets_go_of_the_file_so_that_it_can_be_written(changed: Changed) -> None:
    index_dir = changed("SELECT 1")
    reader = IndexReader(index_dir)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(reader.thumb, range(10)))
        reader.close()
        with duckdb.connect(str(index_dir / reader.manifest.database)) as connection:
            connection.execute("DELETE FROM images")
