"""Every store passes the same suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hostler.stores.sqlite import open_store
from hostler.stores.store import RowStore
from tests.contract.store_reads_suite import StoreReadsContract
from tests.contract.store_requests_suite import StoreRequestsContract
from tests.contract.store_suite import StoreContract


class TestInMemory(StoreContract, StoreReadsContract, StoreRequestsContract):
    """The store that is gone with its process."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[RowStore]:
        store = open_store(None)
        yield store
        await store.close()


class TestSqliteFile(StoreContract, StoreReadsContract, StoreRequestsContract):
    """The store in a state folder."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[RowStore]:
        store = open_store(tmp_path)
        yield store
        await store.close()
