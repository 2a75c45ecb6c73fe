"""Every store passes the same suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hostler.model.storeurls import StoreUrl
from hostler.stores.choosing import open_store
from hostler.stores.sqlite import open_store as open_sqlite
from hostler.stores.store import RowStore
from tests.contract.store_ledger_suite import StoreLedgerContract
from tests.contract.store_reads_suite import StoreReadsContract
from tests.contract.store_requests_suite import StoreRequestsContract
from tests.contract.store_results_suite import StoreResultsContract
from tests.contract.store_suite import StoreContract
from tests.own_postgres import emptied, postgres

__all__ = ["emptied", "postgres"]


class TestInMemory(
    StoreContract, StoreReadsContract, StoreRequestsContract, StoreLedgerContract, StoreResultsContract
):
    """The store that is gone with its process."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[RowStore]:
        store = open_sqlite(None)
        yield store
        await store.close()


class TestSqliteFile(
    StoreContract, StoreReadsContract, StoreRequestsContract, StoreLedgerContract, StoreResultsContract
):
    """The store in a state folder."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[RowStore]:
        store = open_sqlite(tmp_path)
        yield store
        await store.close()


class TestPostgres(
    StoreContract, StoreReadsContract, StoreRequestsContract, StoreLedgerContract, StoreResultsContract
):
    """The store in a PostgreSQL database."""

    @pytest.fixture
    async def store(self, emptied: StoreUrl, tmp_path: Path) -> AsyncIterator[RowStore]:
        store = open_store(tmp_path, url=emptied)
        yield store
        await store.close()
