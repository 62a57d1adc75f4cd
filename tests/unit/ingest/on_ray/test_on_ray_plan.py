"""Feed rows into blocks: each image once, grouped as a local build embeds them."""

from collections.abc import Iterator

from sightline_server.domain.items import Product
from sightline_server.ingest.feed_rows import FeedRow, Problem, ProblemKind
from sightline_server.ingest.groups import GROUP_ROWS
from sightline_server.ingest.on_ray.plan import BLOCK_GROUPS, Block, Plan


def rows(count: int, *, images: int = 1) -> Iterator[FeedRow | Problem]:
    for number in range(count):
        links = tuple(f"{number}-{image}.jpg" for image in range(images))
        yield FeedRow(number + 1, Product(f"p{number}"), None, links)


def links(blocks: list[Block]) -> list[str]:
    return [each.link for block in blocks for group in block.groups for each in group]


def test_each_link_is_in_one_block_in_the_order_of_the_feed() -> None:
    plan = Plan(iter([*rows(300), *rows(300)]), set())
    blocks = list(plan.blocks())
    assert links(blocks) == [f"{number}-0.jpg" for number in range(300)]
    assert [block.number for block in blocks] == list(range(len(blocks)))
    assert plan.rows == 600


def test_a_block_has_groups_of_as_many_rows_as_a_local_build() -> None:
    first, *_ = Plan(rows(GROUP_ROWS * BLOCK_GROUPS * 2, images=2), set()).blocks()
    assert [len(group) for group in first.groups] == [2 * GROUP_ROWS] * BLOCK_GROUPS
    assert first.rows == GROUP_ROWS * BLOCK_GROUPS


def test_embedded_images_are_left_out_and_counted() -> None:
    [block] = Plan(rows(10), set()).blocks()
    keys = {each.key for each in block.groups[0][:7]}
    plan = Plan(rows(10), keys)
    assert links(list(plan.blocks())) == ["7-0.jpg", "8-0.jpg", "9-0.jpg"]
    assert plan.kept == 7


def test_a_plan_without_images_has_no_blocks() -> None:
    problem = Problem(1, ProblemKind.NO_IMAGE, "there is no image_link")
    unread = FeedRow(2, Product("p"), None, ("file:///etc/passwd",))
    plan = Plan(iter([problem, unread]), set())
    assert list(plan.blocks()) == []
    assert plan.rows == 2


def test_a_block_survives_its_encoding_whatever_its_links_hold() -> None:
    row = FeedRow(1, Product("p"), None, ("a b.jpg", "ä\u2028.jpg", "\udc80.jpg", 'quote".jpg'))
    [block] = Plan(iter([row]), set()).blocks()
    assert Block.decode(block.encode()) == block
