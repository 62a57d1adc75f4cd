"""Downloads with a clock that the test turns: who is asked again, when, how often, and what others do meanwhile."""

import asyncio
import gzip
import itertools
import tracemalloc
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from sightline_server.ingest.clients import Requests
from sightline_server.ingest.hosts import RetryLimits, Waiting
from sightline_server.ingest.images import ImageLimits, ImageSource, UnreadableImageError
from sightline_server.ingest.retry_after import retry_after_s
from tests.support.clock import VirtualTime

LIMITS = ImageLimits(max_bytes=100_000, max_redirects=3)
A = "http://a.example/1.jpg"
OK = httpx.Response

SKIPPED = "not downloaded, because the server failed for many images in a row"

Answer = Callable[[httpx.Request], httpx.Response]


def gzipped(content: bytes) -> bytes:
    """The same bytes at any time, so that tests with them have the same names."""
    return gzip.compress(content, mtime=0)


@pytest.fixture
def limits() -> ImageLimits:
    """Limits under which a host is abandoned after ten images."""
    return replace(LIMITS, retry=RetryLimits(hopeless=10))


class Web:
    """Servers that answer with `answer`, and what they were asked, with the virtual time."""

    def __init__(self, answer: Answer, limits: ImageLimits = LIMITS, requests: Requests | None = None) -> None:
        self.time = VirtualTime()
        self.asked: list[tuple[float, httpx.Request]] = []
        self.notices: list[str] = []
        self._answer = answer
        waiting = Waiting(self.time.clock, self.time.sleep, lambda: 0.5)
        self.source = ImageSource(
            Path(),
            limits,
            httpx.MockTransport(self._serve),
            requests=requests,
            waiting=waiting,
            notify=self.notices.append,
        )

    def _serve(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((self.time.now, request))
        return self._answer(request)

    async def read(self, *links: str) -> list[bytes | str]:
        """The image of each link, or why there is none, read side by side."""

        async def all_of_them() -> list[bytes | str]:
            async with self.source:
                return await asyncio.gather(*(self.one(link) for link in links))

        return await self.time.run(all_of_them())

    async def one(self, link: str) -> bytes | str:
        """The image of a link, or why there is none."""
        try:
            return await self.source.read(link)
        except UnreadableImageError as error:
            return str(error)

    def times(self, host: str) -> list[float]:
        """The instants at which `host` was asked, in seconds from the start."""
        return [at - 100.0 for at, request in self.asked if request.url.host == host]


def in_turn(*answers: httpx.Response | Exception) -> Answer:
    """Servers that give one answer after the other, the last one for ever."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    return answer


def refused(status: int = 429, retry_after: str | None = "7") -> httpx.Response:
    return httpx.Response(status, headers={"retry-after": retry_after} if retry_after else {})


@pytest.mark.parametrize("status", [429, 503])
async def test_a_host_that_asks_for_time_gets_it(status: int) -> None:
    web = Web(in_turn(refused(status), refused(status), httpx.Response(200, content=b"image")))
    assert await web.read(A) == [b"image"]
    first, second, third = web.times("a.example")
    assert first == 0.0
    assert 7.0 <= second <= 8.0
    assert 7.0 <= third - second <= 8.0
    assert web.notices[0].startswith(f"a.example:80: the server answered {status} (Retry-After: 7 s); waiting 7 s")


async def test_a_date_is_waited_for_by_the_servers_own_clock() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    until = now.replace(second=20)
    headers = {"retry-after": format_datetime(until, usegmt=True), "date": format_datetime(now, usegmt=True)}
    web = Web(in_turn(httpx.Response(503, headers=headers), httpx.Response(200, content=b"image")))
    assert await web.read(A) == [b"image"]
    assert 20.0 <= web.times("a.example")[1] <= 22.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 12 ", 12.0),
        ("999999999999999999999", 999999999999.0),
        ("Tue, 01 Jan 2030 00:00:30 GMT", 30.0),
        ("Tuesday, 01-Jan-30 00:00:30 GMT", 30.0),
        ("Tue, 01 Jan 2019 00:00:30 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("Tue, 99 Jan 2030 99:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": value}, datetime(2030, 1, 1, tzinfo=UTC)) == seconds


async def test_a_refusal_without_a_time_backs_off_longer_and_longer() -> None:
    web = Web(in_turn(*[refused(retry_after=None)] * 4, httpx.Response(200, content=b"image")))
    assert await web.read(A) == [b"image"]
    times = web.times("a.example")
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[0] >= 0.375
    assert gaps[-1] > 3.0


async def test_one_host_that_asks_for_time_does_not_hold_up_another() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "a.example" and web.time.now < 130.0:
            return refused(retry_after="30")
        return httpx.Response(200, content=request.url.path.encode())

    web = Web(answer, replace(LIMITS, parallel=4))
    slow = [f"http://a.example/{number}" for number in range(20)]
    quick = [f"http://b.example/{number}" for number in range(40)]
    images = await web.read(*slow, *quick)
    assert images == [f"/{number}".encode() for number in (*range(20), *range(40))]
    assert web.times("b.example") == [0.0] * 40
    assert sum(at < 30.0 for at in web.times("a.example")) <= 4, "a paused host was asked"
    assert len(web.notices) == 1


async def test_a_host_of_few_requests_a_second_gives_every_image() -> None:
    """The server of the case `build-429`: four requests a second, and refused ones count as well."""
    seen: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        now = web.time.now
        seen.append(now)
        return refused(retry_after="1") if sum(at > now - 1 for at in seen) > 4 else httpx.Response(200, content=b"i")

    web = Web(answer)
    assert await web.read(*(f"http://a.example/{number}" for number in range(60))) == [b"i"] * 60
    assert web.time.now - 100.0 < 40.0
    assert len(web.notices) == 1, "short pauses are reported once a minute"


async def test_waiting_is_bounded_when_a_host_only_asks_for_time() -> None:
    web = Web(lambda request: refused(retry_after="60"), replace(LIMITS, retry=RetryLimits(patience_s=200)))
    replies = await web.read(*(f"http://a.example/{number}" for number in range(150)))
    assert web.time.now - 100.0 <= 200.0
    assert replies.count("the server answered 429 (Retry-After: 60 s)") == RetryLimits().hopeless
    assert replies.count(SKIPPED) == 50
    assert len(web.asked) < 150


async def test_many_short_pauses_without_an_image_are_bounded() -> None:
    web = Web(lambda request: refused(retry_after="1"))
    replies = await web.read(*(f"http://a.example/{number}" for number in range(60)))
    assert replies == ["the server answered 429 (Retry-After: 1 s)"] * 60
    assert web.time.now - 100.0 < 15.0


async def test_a_wait_beyond_patience_is_not_begun() -> None:
    web = Web(lambda request: refused(retry_after="86400"))
    assert await web.read(A) == ["the server answered 429 (Retry-After: 86400 s)"]
    assert (web.time.now, len(web.asked)) == (100.0, 1)


async def test_an_image_renews_the_patience_with_its_host() -> None:
    refusals: defaultdict[str, int] = defaultdict(int)

    def answer(request: httpx.Request) -> httpx.Response:
        refusals[request.url.path] += 1
        return refused(retry_after="50") if refusals[request.url.path] == 1 else httpx.Response(200, content=b"i")

    web = Web(answer, replace(LIMITS, parallel=1, retry=RetryLimits(patience_s=120)))
    assert await web.read(*(f"http://a.example/{number}" for number in range(10))) == [b"i"] * 10
    assert web.time.now - 100.0 >= 500.0


async def test_a_refusal_that_never_ends_costs_one_image_a_bounded_number_of_requests() -> None:
    web = Web(lambda request: refused(retry_after="1"))
    assert await web.read(A) == ["the server answered 429 (Retry-After: 1 s)"]
    assert len(web.asked) == RetryLimits().refusals


@pytest.mark.parametrize(
    "fault", [httpx.ConnectError("x"), httpx.ReadError("x"), httpx.RemoteProtocolError("x"), OK(500), OK(502), OK(504)]
)
async def test_a_fault_is_backed_off_from_and_tried_again(fault: httpx.Response | Exception) -> None:
    web = Web(in_turn(fault, fault, httpx.Response(200, content=b"image")))
    assert await web.read(A) == [b"image"]
    assert web.times("a.example")[1] > 0.3


async def test_a_host_that_only_fails_is_asked_rarely_and_others_are_not(limits: ImageLimits) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(502 if request.url.host == "a.example" else 200, content=b"i")

    web = Web(answer, limits)

    async def in_groups() -> list[list[bytes | str]]:
        async with web.source:
            links = [[f"http://{host}.example/{n}" for host in ("a", "b") for n in range(10)] for _ in range(20)]
            return [await asyncio.gather(*(web.one(link) for link in group)) for group in links]

    groups = await web.time.run(in_groups())
    assert [group[10:] for group in groups] == [[b"i"] * 10] * 20
    from_broken = [reply for group in groups for reply in group[:10]]
    assert from_broken.count("the server answered 502") == 10 + 190 // 10
    assert from_broken.count(SKIPPED) == 190 - 190 // 10


async def test_a_host_that_recovers_is_asked_again(limits: ImageLimits) -> None:
    broken = {f"/{number}" for number in range(30)}
    web = Web(lambda request: httpx.Response(502 if request.url.path in broken else 200, content=b"i"), limits)

    async def one_after_the_other() -> list[bool]:
        arrived = []
        for number in range(60):
            try:
                arrived.append(await web.source.read(f"http://a.example/{number}") == b"i")
            except UnreadableImageError:
                arrived.append(False)
        return arrived

    arrived = await web.time.run(one_after_the_other())
    assert arrived[40:] == [True] * 20


async def test_missing_images_are_no_fault_of_the_host() -> None:
    web = Web(lambda request: httpx.Response(404), replace(LIMITS, retry=RetryLimits(hopeless=2)))
    assert await web.read(*(f"http://a.example/{n}" for n in range(20))) == ["the server answered 404"] * 20


async def test_a_wait_is_cancelled_at_once() -> None:
    web = Web(lambda request: refused(retry_after="100"))
    task = asyncio.create_task(web.source.read(A))
    for _ in range(100):
        await asyncio.sleep(0)
    assert web.notices
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_links_are_encoded_as_browsers_do() -> None:
    web = Web(lambda request: httpx.Response(200, content=b"i"))
    await web.read("http://bücher.example/a b/ü%20ö.jpg?x=ä b&y=%2B", "//Cdn.example/x.jpg")
    first, second = (request for _, request in web.asked)
    assert first.url.raw_path == b"/a%20b/%C3%BC%20%C3%B6.jpg?x=%C3%A4%20b&y=%2B"
    assert first.headers["host"] == "xn--bcher-kva.example"
    assert str(second.url) == "https://cdn.example/x.jpg"


@pytest.mark.parametrize(
    "link", ["http://a.example/\ud800.jpg", "http://a..example/", "http://" + "a" * 300 + "/", "http://xn--/"]
)
async def test_an_address_that_cannot_be_encoded_is_refused(link: str) -> None:
    [reply] = await Web(lambda request: httpx.Response(200, content=b"i")).read(link)
    assert isinstance(reply, str) or link.startswith("http://a..") or len(link) > 300


async def test_hosts_without_history_are_forgotten() -> None:
    web = Web(lambda request: httpx.Response(200, content=b"i"))
    await web.read(*(f"http://{number}.example/a.jpg" for number in range(50)))
    assert not web.source._downloads._hosts


SECRET = Requests("shop-bot/2", (("Authorization", "Bearer secret"), ("X-Shop-Key", "secret")))


def redirects(**locations: str) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        location = locations.get(request.url.path.strip("/"))
        return httpx.Response(302, headers={"location": location}) if location else httpx.Response(200, content=b"i")

    return answer


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/end", True),
        ("http://a.example/end", True),
        ("https://a.example/end", True),
        ("http://a.example:8080/end", False),
        ("http://b.example/end", False),
        ("//b.example/end", False),
        ("https://sub.a.example/end", False),
    ],
)
async def test_headers_of_the_operator_stay_with_the_host_of_the_link(target: str, sent: bool) -> None:
    web = Web(redirects(start=target), requests=SECRET)
    assert await web.read("http://a.example/start") == [b"i"]
    first, last = (request for _, request in web.asked)
    assert (first.headers["authorization"], first.headers["x-shop-key"]) == ("Bearer secret", "secret")
    assert ("authorization" in last.headers, "x-shop-key" in last.headers) == (sent, sent)
    assert first.headers["user-agent"] == last.headers["user-agent"] == "shop-bot/2"


async def test_headers_do_not_come_back_with_a_redirect_over_another_host() -> None:
    web = Web(redirects(start="http://b.example/middle", middle="https://b.example/end"), requests=SECRET)
    assert await web.read("http://a.example/start") == [b"i"]
    assert ["authorization" in request.headers for _, request in web.asked] == [True, False, False]


async def test_a_redirect_to_a_link_with_a_password_is_refused() -> None:
    web = Web(redirects(start="http://user:secret@b.example/end"))
    [reply] = await web.read("http://a.example/start")
    assert "user name or password" in str(reply)
    assert "secret" not in str(reply)


async def test_cookies_are_not_kept() -> None:
    web = Web(lambda request: httpx.Response(200, content=b"i", headers={"set-cookie": "session=1"}))
    await web.read(A, "http://a.example/2")
    assert ["cookie" in request.headers for _, request in web.asked] == [False, False]


def packed(content: bytes, coding: str) -> httpx.Response:
    """An answer whose body is sent as it is, in parts."""

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]

    return httpx.Response(200, headers={"content-encoding": coding}, content=parts())


@pytest.mark.parametrize(
    ("coding", "content"),
    [
        ("gzip", gzipped(b"image")),
        ("X-GZIP", gzipped(b"image")),
        ("deflate", zlib.compress(b"image")),
        ("identity", b"image"),
        ("", b"image"),
    ],
)
async def test_one_content_coding_is_undone(coding: str, content: bytes) -> None:
    web = Web(lambda request: packed(content, coding))
    assert await web.read(A) == [b"image"]
    assert web.asked[0][1].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("coding", ["gzip, gzip", "br", "zstd", "gzip, deflate", "compress", "identity, gzip"])
async def test_other_content_codings_are_refused(coding: str) -> None:
    twice = gzipped(gzipped(bytes(10_000_000)))
    assert await Web(lambda request: packed(twice, coding)).read(A) == [
        "the server sends the image in a content coding that is not supported; expected gzip or deflate"
    ]


async def test_a_body_that_unpacks_to_much_takes_no_memory() -> None:
    bomb = gzipped(bytes(200_000_000))
    tracemalloc.start()
    try:
        assert await Web(lambda request: packed(bomb, "gzip")).read(A) == ["larger than 100000 bytes"]
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (gzipped(bytes(5000))[:-20], "incomplete"),
        (b"no gzip at all", "corrupt"),
        (gzipped(b"image") + bytes(200_000), "larger than"),
        (b"", "incomplete"),
    ],
)
async def test_a_broken_coding_is_reported(content: bytes, text: str) -> None:
    [reply] = await Web(lambda request: packed(content, "gzip")).read(A)
    assert text in str(reply)
