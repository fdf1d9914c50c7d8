"""``StateManager``: passes Faust's assignments to the only table, and starts and stops it."""

from __future__ import annotations

from typing import Any, cast

from faust.tables.manager import TableManager
from faust.types import TP

from streams.engine.table import StateTable
from streams.kafka import internals


class StateManager(TableManager):
    """Faust's manager of tables, without Faust's recovery: each partition of the only table restores itself.

    So a worker does not wait for the slowest partition. It counts the events of restored partitions, and replies for
    their users, while other partitions are still being restored.
    """

    @property
    def _table(self) -> StateTable:
        (table,) = self.values()
        return cast(StateTable, table)

    async def on_start(self) -> None:
        """Start the table. Replaces Faust's method, which prepares the recovery from the changelog.

        Faust's start waits for the two events that are set here.
        """
        self._tables_finalized.set()
        await self._table.maybe_start()
        self._tables_registered.set()

    async def on_stop(self) -> None:
        """Stop fetching, then stop the table, which flushes all live partitions."""
        await internals.fetcher_service(self.app).stop()
        await self._table.stop()

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Do nothing. Faust's method applies buffered changelog events of its recovery, which never runs here."""

    async def wait_until_recovery_completed(self) -> bool:
        """Return False at once, which means that the app is not stopping.

        There is nothing to wait for: a partition that is not restored yet ignores its events, and reads them later.
        """
        return False

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Pass the new assignment to the table, and resume the flow of events in a background task.

        It must be a background task: it waits for the consumer's thread, and that thread waits for this method.
        """
        await self._table.on_rebalance(assigned, revoked, newly_assigned, generation_id)
        self.add_future(self._resume(generation_id))

    async def _resume(self, generation_id: int) -> None:
        """End a rebalance: prove that the live partitions are still owned, resume fetching, and follow them.

        Stops after the proof if another rebalance has begun meanwhile.
        """
        app = cast(Any, self.app)
        await self._table.prove_ownership()
        if generation_id != app.consumer_generation_id:
            return  # another rebalance has begun; its end comes here again
        app.flow_control.resume()
        app.consumer.resume_flow()
        await internals.fetcher_service(app).maybe_start()
        self.on_actives_ready()
        self.on_standbys_ready()
        app.on_rebalance_end()
        await self._table.follow_live()
