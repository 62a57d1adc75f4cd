"""Links: what each one is taken for, and what of it may be shown or published."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.ingest.link_secrets import masked_link, publishable_link, without_user_info
from sightline_server.ingest.links import FileLink, UnreadableImageError, WebLink, classify


@pytest.mark.parametrize(
    ("link", "url", "host"),
    [
        ("http://shop.example/a.jpg", "http://shop.example/a.jpg", "shop.example:80"),
        ("HTTPS://Shop.Example/A.jpg", "https://shop.example/A.jpg", "shop.example:443"),
        ("//cdn.shop.example/x.jpg", "https://cdn.shop.example/x.jpg", "cdn.shop.example:443"),
        (" //cdn.shop.example:8443/x.jpg\n", "https://cdn.shop.example:8443/x.jpg", "cdn.shop.example:8443"),
        ("http:/shop.example/a.jpg", "http://shop.example/a.jpg", "shop.example:80"),
        ("https:\\\\shop.example\\a\\b.jpg", "https://shop.example/a/b.jpg", "shop.example:443"),
        ("https://shop.example/a\tb\n.jpg", "https://shop.example/ab.jpg", "shop.example:443"),
        ("https://shop.example/a b ü.jpg?x=1&y=2#top", "https://shop.example/a b ü.jpg?x=1&y=2", "shop.example:443"),
        ("https://shop.example/img@2x.jpg", "https://shop.example/img@2x.jpg", "shop.example:443"),
        ("https://bücher.example/a.jpg", "https://bücher.example/a.jpg", "bücher.example:443"),
        ("http://[::1]:8080/a.jpg", "http://[::1]:8080/a.jpg", "::1:8080"),
        ("http:///shop.example/a.jpg", "http://shop.example/a.jpg", "shop.example:80"),
        ("https://shop.example?id=1", "https://shop.example?id=1", "shop.example:443"),
    ],
)
def test_web_links_are_read_as_browsers_read_them(link: str, url: str, host: str) -> None:
    assert classify(link) == WebLink(url, host)


@pytest.mark.parametrize(
    "link", ["a.jpg", "a/b c.jpg", "/images/a.jpg", "photo:1.jpg", "img@2x.jpg", "a\\b.jpg", "httpa.jpg"]
)
def test_everything_without_a_scheme_is_a_path(link: str) -> None:
    assert classify(link) == FileLink(link)


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ("ftp://shop.example/a.jpg", "links of kind ftp: are not read"),
        ("FILE:///etc/passwd", "links of kind file: are not read"),
        ("file:a.jpg", "links of kind file: are not read"),
        ("s3://bucket/a.jpg", "links of kind s3: are not read"),
        ("data:image/png;base64,AAAA", "links of kind data: are not read"),
        ("C:\\images\\a.jpg", "Windows"),
        ("d:/images/a.jpg", "Windows"),
        ("\\\\server\\share\\a.jpg", "Windows"),
        ("http://", "names no host"),
        ("http:", "expected http://HOST/PATH"),
        ("http://?a", "names no host"),
        ("http://:80/a.jpg", "names no host"),
        ("http://shop.example:99999/a.jpg", "check its host and port"),
        ("http://shop.example:http/a.jpg", "check its host and port"),
        ("http://[::1/a.jpg", "check its host and port"),
        ("https://a b/c", "check its host and port"),
        ("http://user:secret@shop.example/a.jpg", "--header"),
        ("//user:secret@shop.example/a.jpg", "--header"),
        ("https://token@shop.example/a.jpg", "--header"),
        ("http:\\\\user:secret@shop.example\\a.jpg", "--header"),
        ("http://user:sec/ret@shop.example/a.jpg", "--header"),
        ("http://user:sec?ret@shop.example/a.jpg", "--header"),
    ],
)
def test_links_that_are_not_read_say_why(link: str, text: str) -> None:
    with pytest.raises(UnreadableImageError, match=text) as caught:
        classify(link)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("pictures/a b.jpg", "pictures/a b.jpg"),
        ("img@2x.jpg", "img@2x.jpg"),
        ("http://user:secret@host/a.jpg", "http://***@host/a.jpg"),
        ("//user:secret@host/a.jpg", "//***@host/a.jpg"),
        ("https://secret@host/img@2x.jpg", "https://***@2x.jpg"),
        ("http://user:s@cr/et@host/a.jpg", "http://***@host/a.jpg"),
        ("http://user:s@cr/et@host.example/a@b/c.jpg", "http://***@b/c.jpg"),
        ("http://user:12/secret@host.example/a.jpg", "http://***@host.example/a.jpg"),
        ("http://user:123456/secret@host/a.jpg", "http://***@host/a.jpg"),
        ("http://user:secret%40host/a.jpg", "http://user:***/a.jpg"),
        ("http://user:secret", "http://user:***"),
        ("http://localhost:8080/a@b/c.jpg", "http://localhost:8080/a@b/c.jpg"),
        ("http://host/a;token=secret/b.jpg", "http://host/a;token=***/b.jpg"),
        ("http://host/a;v=1;jsessionid=secret?x=1", "http://host/a;v=***;jsessionid=***?x=***"),
        ("http://host/a%3Btoken%3Dsecret/b.jpg", "http://host/a%3Btoken%3D***/b.jpg"),
        ("http://host/hdnts=exp=1~hmac=secret/a.jpg", "http://host/hdnts=***/a.jpg"),
        ("http://host/X-Amz-Signature=secret,w=3/a.jpg", "http://host/X-Amz-Signature=***,w=3/a.jpg"),
        ("images/size=xl/a.jpg", "images/size=xl/a.jpg"),
        ("https://host/img@2x.jpg", "https://host/img@2x.jpg"),
        ("https://host:8080/img@2x.jpg", "https://host:8080/img@2x.jpg"),
        ("http://[::1]:80/a@b.jpg", "http://[::1]:80/a@b.jpg"),
        ("http://user:sec@ret@host/a.jpg", "http://***@host/a.jpg"),
        ("http://user:secret/x@host/a.jpg", "http://***@host/a.jpg"),
        ("http://user:secret?x@host/a.jpg", "http://***@host/a.jpg"),
        ("http://user:secret#x@host/a.jpg", "http://***@host/a.jpg"),
        ("user:secret@host/a.jpg", "***@host/a.jpg"),
        ("http:user:secret@host/a.jpg", "***@host/a.jpg"),
        ("http:/user:secret@host/a.jpg", "http:/***@host/a.jpg"),
        ("http:\\\\user:secret@host\\a.jpg", "http:\\\\***@host\\a.jpg"),
        ("ftp://user:secret@host/a.jpg", "ftp://***@host/a.jpg"),
        ("https://cdn/fetch/https://user:secret@host/a.jpg", "https://cdn/fetch/https://***@host/a.jpg"),
        ("http://host/a.jpg?Signature=secret&w=3", "http://host/a.jpg?Signature=***&w=***"),
        ("http://host/a.jpg?secret", "http://host/a.jpg?***"),
        ("http://host/a.jpg?#secret", "http://host/a.jpg?"),
        ("http://host/\x1b[31ma.jpg", "http://host/\\x1b[31ma.jpg"),
        ("http://host/\udc80.jpg", "http://host/\\udc80.jpg"),
    ],
)
def test_shown_links_hold_no_secret_and_no_control_character(link: str, expected: str) -> None:
    assert masked_link(link) == expected


def test_a_long_link_is_cut() -> None:
    assert len(masked_link("data:image/png;base64," + "A" * 100_000)) < 250


@pytest.mark.parametrize("part", ["%3B", ";", "token", "//", "http://", "@", "a:b@", ";a=", "&a=", ":"])
def test_long_link_is_masked_in_linear_time(part: str) -> None:
    link = "http://shop.example/" + part * (60_000 // len(part))
    started = time.process_time()
    assert len(masked_link(link)) < 250
    publishable_link(link)
    assert time.process_time() - started < 2.0


SECRET = "s3cr3t"
AROUND = st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]), max_size=8)


@given(
    prefix=st.sampled_from(["http://", "HTTPS://", "//", "https:\\\\", "ftp://", "http:/"]),
    password=st.tuples(AROUND, AROUND).map(lambda around: around[0] + SECRET + around[1]),
    path=st.text(st.characters(exclude_characters="@", exclude_categories=["Cs"]), max_size=20),
)
def test_no_password_is_ever_shown(prefix: str, password: str, path: str) -> None:
    link = f"{prefix}user:x{password}@host.example/{path}"
    assert SECRET not in masked_link(link)
    assert SECRET not in publishable_link(link)
    with pytest.raises(UnreadableImageError) as caught:
        classify(link)
    assert SECRET not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_classified_or_refused_and_can_be_shown(text: str) -> None:
    assert masked_link(text).isprintable()
    try:
        target = classify(text)
    except UnreadableImageError:
        return
    if isinstance(target, WebLink):
        assert classify(target.url) == target


def test_published_texts_lose_user_info_only() -> None:
    text = "see http://user:secret@shop.example/a?b=c or mail a@shop.example"
    assert without_user_info(text) == "see http://shop.example/a?b=c or mail a@shop.example"


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("https://user:secret/x@shop.example/a", "https://shop.example/a"),
        ("https://user:secret#x@shop.example/a", "https://shop.example/a"),
        ("https://user:s@cret@shop.example/a", "https://shop.example/a"),
        ("https://user:12/secret@shop.example/a", "https://shop.example/a"),
        ("https://user:s@cr/secret@shop.example/a", ""),
        ("https://user:secret/x@shop.example/img@2x.jpg", ""),
        ("see https://user:secret@shop.example/a?mail=me@shop.example now", "see  now"),
        ("https://user:secret?x@shop.example/a", "https://shop.example/a"),
        ("HTTPS:\\\\user:secret@shop.example\\a", "HTTPS:\\\\shop.example\\a"),
        ("http:/user:secret@shop.example/a", "http:/shop.example/a"),
        ("//user:secret@shop.example/a", "//shop.example/a"),
        ("\ufeffhttps://user:secret@shop.example/a", "\ufeffhttps://shop.example/a"),
        ("https://a.example/b,https://user:secret/x@a.example/c", "https://a.example/b,https://a.example/c"),
        ("https://cdn.example/f?u=https://user:secret/x@a.example/c", "https://cdn.example/f?u=https://a.example/c"),
        ('<a href="https://user:secret/x@shop.example/a">', '<a href="https://shop.example/a">'),
    ],
)
def test_no_password_is_published_in_any_spelling(text: str, published: str) -> None:
    assert without_user_info(text) == published


@pytest.mark.parametrize(
    "text",
    [
        "https://cdn.example//logo@2x.png",
        "https://video.example:443/@shop",
        '{"url":"https://shop.example","mail":"me@shop.example"}',
        "mail:me@shop.example",
    ],
)
def test_other_texts_with_an_at_sign_are_published_as_they_are(text: str) -> None:
    assert without_user_info(text) == text
