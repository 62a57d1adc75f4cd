"""One search, read event by event."""

from google.protobuf.message import DecodeError

from sightline.v1 import lens_service_pb2
from sightline_client import channels, convert, status
from sightline_client.events import Done, Event
from sightline_client.messages import Messages
from sightline_client.options import ClientOptions


class Stream:
    """One call with the events that have arrived."""

    def __init__(self, call: channels.SearchCall, options: ClientOptions) -> None:
        self._options = options
        self._arrived: list[Event] = []
        self._messages = Messages(call, lambda failed: status.error_from_call(failed, self._arrived, options))

    async def read(self) -> Event | None:
        """The next event, or None after Done. Raises `SightlineError`."""
        while (message := await self._messages.next()) is not None:
            event = convert.event_from_pb(self._parsed(message))
            if event is not None:
                self._arrived.append(event)
                return event
        if not (self._arrived and isinstance(self._arrived[-1], Done)):
            raise status.ended_early(self._arrived)
        return None

    async def end(self) -> None:
        """Ends the call; see `Messages.end`."""
        await self._messages.end()

    def _parsed(self, message: bytes) -> lens_service_pb2.SearchResponse:
        if len(message) > self._options.max_answer_bytes:
            raise status.answer_too_large(len(message), self._arrived, self._options)
        try:
            return lens_service_pb2.SearchResponse.FromString(message)
        except DecodeError as error:
            raise status.unreadable_answer(self._arrived) from error
