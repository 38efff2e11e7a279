"""Reading a PostgreSQL store where nothing may be written: no owner is known there, and no table is made."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from memollm.errors import StoreReadOnly, StoreRefused, StoreUnavailable
from memollm.stores.postgres import sql
from memollm.stores.postgres.looking import PostgresLooking
from memollm.stores.postgres.matching import PostgresMatches
from memollm.stores.postgres.session import OpenServer, ServerSession
from memollm.stores.postgres.transfer import reading
from memollm.stores.serving import NothingThere

if TYPE_CHECKING:
    from collections.abc import Generator

    from memollm.errors import StoreError
    from memollm.stores.postgres.connections import KeptConnection
    from memollm.stores.postgres.transfer import PostgresSnapshot


class PostgresReader(ServerSession):
    """What a PostgreSQL store holds, for a `ReadingStore` to draw from; where no schema is, the cache is empty."""

    owns = False

    @property
    def looking(self) -> PostgresLooking:
        """Looks into the store."""
        return PostgresLooking(self)

    @property
    def matching(self) -> PostgresMatches:
        """Reads vectors and matches."""
        return PostgresMatches(self.rows)

    def missing(self) -> str:
        """Name the schema, where no cache is."""
        try:
            self.opened()
        except NothingThere:
            return f"schema {self.address.schema}"
        return ""

    @contextmanager
    def snapshot(self) -> Generator[PostgresSnapshot]:
        """Read inside one transaction."""
        try:
            self.opened()
        except NothingThere:
            raise StoreRefused(f"There is no cache at {self.address.shown} yet, so nothing can be taken out.") from None
        with reading(self) as snapshot:
            yield snapshot

    def rows(self, statement: str, *values: Any, **named: Any) -> list[tuple[Any, ...]]:
        """Run a statement by its name; nothing is found where there is nothing yet."""
        try:
            return super().rows(statement, *values, **named)
        except NothingThere:
            return []

    def translated(self, error: Exception) -> StoreError:
        """Say in one sentence what failed; nothing was to be written, so no right to write is missing."""
        return self._of_reading(super().translated(error))

    def _open(self) -> OpenServer:
        try:
            return super()._open()
        except StoreReadOnly as error:
            raise self._of_reading(error) from error.__cause__

    def _of_reading(self, error: StoreError) -> StoreError:
        if not isinstance(error, StoreReadOnly) or "permission denied" not in str(error):
            return error
        schema = self.address.schema
        return StoreRefused(
            f"The cache {self.address.shown} cannot be read by this user. Have its owner grant what reading needs: "
            f"GRANT USAGE ON SCHEMA {schema} TO NAME; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO NAME."
        )

    def _bring_up_to_date(self, connection: KeptConnection) -> None:
        version = self._version(connection)
        if not version:
            raise NothingThere
        self._require_known(version)
        if version < sql.SCHEMA_VERSION:
            raise StoreUnavailable(
                f"The cache {self.address.shown} is of an older memollm, and can be brought up to date only by a user "
                "who may write it. Open it as one once."
            )

    def _bury(self, connection: KeptConnection) -> None:
        """Leave the dead to those who write."""

    def _leave(self, opened: OpenServer) -> None:
        """Leave no trace, as there is none."""
