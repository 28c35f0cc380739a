"""The node's own subscription: everything that members publish for it at its own broker."""

import asyncio
import ssl
from collections.abc import Callable

from mesh.broker import Broker
from mesh.core.topic_policy import INBOX, CommonName, Role
from mesh.mqtt import MqttClient


class Inbox:
    """Subscribed for as long as `run` runs.

    `on_message(topic, payload)` is called with what arrives; `on_return` when the subscription was away for a while,
    and what was published meanwhile is lost.
    """

    def __init__(
        self,
        node_id: str,
        broker: Broker,
        tls: ssl.SSLContext,
        *,
        on_message: Callable[[str, bytes], None],
        on_return: Callable[[], None],
    ) -> None:
        self._on_return = on_return
        self._subscribed = asyncio.Event()
        self._client = MqttClient(
            broker.address,
            port=broker.port,
            tls=tls,
            client_id=str(CommonName(node_id, Role.OWNER)),
            subscribe=INBOX,
            on_message=on_message,
            on_state=self._changed,
        )

    async def run(self, subscribed: asyncio.Event) -> None:
        """Listen until cancelled; `subscribed` is set when it begins."""
        self._subscribed = subscribed
        await self._client.run()

    def _changed(self, connected: bool) -> None:  # noqa: FBT001  MqttClient's callback
        if connected and self._subscribed.is_set():
            self._on_return()
        elif connected:
            self._subscribed.set()
