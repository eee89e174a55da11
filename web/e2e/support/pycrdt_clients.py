"""Clients of pycrdt, told by lines of JSON what to do: {"do": "open", "id": 1, "url": …}. Each says what its document is whenever that changes."""

import asyncio
import base64
import json
import sys

from pycrdt import Doc, Provider, Text
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

PAUSE_SECONDS = 0.1


class Channel:
    """A WebSocket as pycrdt wants it: messages until the connection ends."""

    def __init__(self, websocket):
        self.websocket = websocket
        self.path = ""

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.websocket.recv(decode=False)
        except WebSocketException:
            raise StopAsyncIteration from None

    async def send(self, message: bytes) -> None:
        try:
            await self.websocket.send(message)
        except WebSocketException:
            pass


class Client:
    def __init__(self, number: int, url: str):
        self.number = number
        self.url = url
        self.doc = Doc()
        self.text = self.doc.get("text", type=Text)
        self.websocket = None
        self.is_synced = False
        self.is_wanted = asyncio.Event()
        self.is_wanted.set()
        # Not within the transaction that is being told of.
        loop = asyncio.get_running_loop()
        self.doc.observe(lambda _: loop.call_soon(self.tell))
        self.task = asyncio.create_task(self.run())

    def tell(self) -> None:
        said = {
            "id": self.number,
            "text": str(self.text),
            "vector": base64.b64encode(self.doc.get_state()).decode(),
            "synced": self.is_synced,
        }
        print(json.dumps(said), flush=True)

    async def run(self) -> None:
        while True:
            await self.is_wanted.wait()
            try:
                async with connect(self.url, max_size=None) as self.websocket:
                    async with Provider(self.doc, Channel(self.websocket)) as provider:
                        gone = asyncio.create_task(self.websocket.wait_closed())
                        here = asyncio.create_task(provider.synced.wait())
                        await asyncio.wait([gone, here], return_when=asyncio.FIRST_COMPLETED)
                        here.cancel()
                        self.is_synced = not gone.done()
                        self.tell()
                        await gone
            except (OSError, WebSocketException):
                pass
            self.websocket = None
            self.is_synced = False
            self.tell()
            await asyncio.sleep(PAUSE_SECONDS)

    async def do(self, what: dict) -> None:
        match what["do"]:
            case "insert":
                self.text.insert(min(what["at"], len(self.text)), what["text"])
            case "delete":
                if what["at"] < len(self.text):
                    del self.text[what["at"]]
            case "connect":
                self.is_wanted.set()
            case "disconnect":
                self.is_wanted.clear()
                if self.websocket:
                    asyncio.create_task(self.websocket.close())
            case "cut":
                if self.websocket:
                    self.websocket.transport.abort()
            case "close":
                self.task.cancel()


async def main() -> None:
    clients: dict[int, Client] = {}
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        what = json.loads(line)
        number = what["id"]
        if what["do"] == "open":
            clients[number] = Client(number, what["url"])
        elif what["do"] == "close":
            await clients.pop(number).do(what)
        else:
            await clients[number].do(what)


if __name__ == "__main__":
    asyncio.run(main())
