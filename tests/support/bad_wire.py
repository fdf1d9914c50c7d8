"""A network that changes what brokers send."""

from __future__ import annotations

from typing import Any

from aiokafka.protocol.fetch import FetchRequest


class BadWire:
    """Wraps a client and flips a bit in what it fetches of partition 0, as a broken network does."""

    def __init__(self, client: Any, times: int, position: int) -> None:
        self._client = client
        self.left = times
        self.position = position

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        """Send a request; the first ``times`` replies to fetches are corrupted."""
        response = await self._client.send(node_id, request, **options)
        if isinstance(request, FetchRequest):
            for _, partitions in response.topics:
                for at, (partition, *head, records) in enumerate(partitions):
                    if partition == 0 and records and self.left:
                        self.left -= 1
                        corrupted = bytearray(records)
                        corrupted[self.position] ^= 0x80
                        partitions[at] = (partition, *head, bytes(corrupted))
        return response
