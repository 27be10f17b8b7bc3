"""A bot that greets whoever asks it to; put your own capabilities in its place."""

import logging

import attrs
from alephscript import AlephScriptClient, RequestFor, capability


@attrs.frozen
class Greeting:
    """The reply of the capability."""

    text: str


@attrs.frozen
class Greet(RequestFor[Greeting], capability="GREET"):
    """The payload of a request."""

    who: str


class NewBot(AlephScriptClient):
    """Greets people."""

    rooms = ("NEW_BOT",)

    @capability
    async def greet(self, request: Greet) -> Greeting:
        """Greet somebody by name."""
        await self.broadcast("GREETED", {"who": request.who})
        return Greeting(text=f"hello {request.who}")


def main() -> None:
    """Serve until interrupted; a hub that is away is waited for."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    NewBot(retry_open=True).run()  # at ALEPHSCRIPT_URL, or http://127.0.0.1:3010


if __name__ == "__main__":
    main()
