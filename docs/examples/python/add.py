"""Shows the list of the `list` example, after adding to it: python add.py [--document NAME] [ITEM ...]"""

import argparse
import asyncio
import os

from pycrdt import Array, Doc, Map, Provider
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

SERVER = os.environ.get("BUILDSPACES_SERVER", "ws://localhost:8080")

# "Tell me when everything I sent is on disk": kind 102 and a number of ours, which comes back.
IS_IT_SAVED = bytes([102, 1, 1])


class Channel:
    """A WebSocket as pycrdt wants it: messages until the connection ends."""

    def __init__(self, websocket: ClientConnection, path: str):
        self.websocket = websocket
        self.path = path

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.recv()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def recv(self) -> bytes:
        return await self.websocket.recv(decode=False)

    async def send(self, message: bytes) -> None:
        await self.websocket.send(message)


async def main(document: str, new: list[str]) -> None:
    doc = Doc()
    items = doc.get("items", type=Array)
    async with connect(f"{SERVER}/yjs/{document}", max_size=None) as websocket:
        channel = Channel(websocket, document)
        async with Provider(doc, channel) as provider:
            await provider.synced.wait()
            for text in new:
                items.append(Map({"text": text, "done": False}))
        if new:
            await channel.send(IS_IT_SAVED)
            while await channel.recv() != IS_IT_SAVED:
                pass
    for item in items:
        print("[x]" if item["done"] else "[ ]", item["text"])


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--document", default="shopping")
    arguments.add_argument("items", nargs="*", metavar="ITEM")
    options = arguments.parse_args()
    asyncio.run(main(options.document, options.items))
