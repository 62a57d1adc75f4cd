"""The sizing: its figures are those of the record, its arithmetic keeps to them, and the page is what it computes."""

from itertools import pairwise

import pytest

from load_tests.generator.photos import ROOT
from load_tests.sizing import measured
from load_tests.sizing.arithmetic import (
    IN_TIER,
    IN_WORKERS,
    catalog,
    exact_ms,
    fits_in_workers,
    in_workers,
    most_products_in_workers,
    plan,
)
from load_tests.sizing.assumed import Assumed
from load_tests.sizing.page import BEGIN, END, PAGE, with_tables
from load_tests.sizing.replicas import Compared, Turn, shares_of_cores
from load_tests.sizing.tables import PHOTOS_PER_S, PRODUCTS, power, table

USUAL = Assumed()


@pytest.mark.parametrize("figure", measured.FIGURES, ids=lambda figure: figure.name)
def test_a_figure_stands_in_the_record(figure: measured.Figure) -> None:
    page = (ROOT / figure.source.partition("#")[0]).read_text()
    assert figure.quote in page
    written = f"{figure.value:,}".removesuffix(".0")
    assert written in figure.quote or written.replace(",", "") in figure.quote


def test_the_page_in_the_repository_is_current() -> None:
    assert PAGE.read_text() == with_tables(PAGE.read_text())


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_page_without_its_marks_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="two marks"):
        with_tables(page)


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize("rate", PHOTOS_PER_S)
def test_a_plan_carries_its_load_without_one_machine_and_one_copy(products: float, rate: float) -> None:
    made = plan(products, rate, USUAL)
    assert (made.machines - 1) * made.machine_photos_per_s * USUAL.load >= rate
    assert made.gpu_busy <= 1
    if made.place == IN_TIER:
        queries_per_s = 64 / (made.search_ms / 1e3) * (made.copies - 1) * USUAL.load
        assert queries_per_s >= rate * measured.OBJECTS.value
        assert made.search_ms <= USUAL.search_ms
        assert catalog(products, USUAL).gpu_bytes / made.shards <= USUAL.memory * measured.GPU_MIB.value * 2**20


def test_a_larger_catalog_and_a_higher_rate_take_more() -> None:
    for rate in PHOTOS_PER_S:
        gpus = [plan(products, rate, USUAL).gpus for products in PRODUCTS]
        assert gpus == sorted(gpus)
    for products in PRODUCTS:
        costs = [plan(products, rate, USUAL) for rate in PHOTOS_PER_S]
        assert all(less.gpus < more.gpus for less, more in pairwise(costs))
        # Spares weigh less in a larger deployment.
        assert all(less.usd_per_1000 > more.usd_per_1000 for less, more in pairwise(costs))


def test_a_measured_search_is_its_own_time() -> None:
    assert exact_ms(measured.SEARCH_4_MS, measured.SEARCHED_VECTORS.value, USUAL) == measured.SEARCH_4_MS.value


def test_small_catalogs_stay_in_the_workers_and_large_ones_leave_them() -> None:
    assert plan(1e6, 1000, USUAL).place == IN_WORKERS
    assert plan(1e9, 1000, USUAL).place == IN_TIER
    most = min(value for name, value in most_products_in_workers(USUAL).items() if "copy each" in name)
    assert fits_in_workers(catalog(most * 0.99, USUAL), USUAL)
    assert not fits_in_workers(catalog(most * 1.01, USUAL), USUAL)


def test_a_catalog_beyond_the_gpu_time_slows_its_machine() -> None:
    most = most_products_in_workers(USUAL)["GPU time, at 8 workers' full rate"]
    roomy = Assumed(memory=4.0)
    assert plan(most * 0.9, 100, roomy).machine_photos_per_s == measured.PHOTOS_8_WORKERS.value
    assert in_workers(catalog(most * 1.5, roomy), 100, roomy).machine_photos_per_s < measured.PHOTOS_8_WORKERS.value


def test_longer_embeddings_take_more() -> None:
    assert catalog(1e7, Assumed(dimension=1280)).gpu_bytes == 5 * catalog(1e7, USUAL).gpu_bytes


@pytest.mark.parametrize(("value", "text"), [(1e7, "10^7"), (100, "10^2"), (2.5e6, "2,500,000")])
def test_powers_of_ten_are_written_as_such(value: float, text: str) -> None:
    assert power(value) == text


def test_a_table_has_a_column_for_each_name() -> None:
    assert table("a | b", [("1", "2")]) == "| a | b |\n|---|---|\n| 1 | 2 |"


@pytest.mark.parametrize(("together", "holds"), [(10.0, True), (8.1, True), (11.9, True), (7.9, False), (12.1, False)])
def test_a_prediction_holds_within_a_fifth(together: float, holds: bool) -> None:
    compared = Compared((Turn((5.0, 5.0), together),))
    assert compared.holds is holds
    assert compared.facts["predicted_photos_per_s"] == 10.0
    assert compared.facts["measured_photos_per_s"] == together


def test_replicas_that_share_their_cores_do_together_what_one_does() -> None:
    compared = Compared((Turn((10.0, 12.0), 10.0, shared=True),))
    assert (compared.predicted, compared.holds) == (11.0, True)


def test_a_turn_is_compared_with_its_own_prediction() -> None:
    # The machine is half as fast in two of three turns; the medians of both figures come from different ones.
    compared = Compared((Turn((10.0, 10.0), 20.0), Turn((5.0, 5.0), 10.0), Turn((5.0, 5.0), 9.0)))
    assert compared.ratio == 1.0


def test_servers_that_answer_nothing_fail_the_comparison() -> None:
    assert not Compared((Turn((0.0, 0.0), 0.0),)).holds


def test_cores_are_divided_evenly() -> None:
    assert shares_of_cores([0, 1, 2, 3, 6], 2) == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="3 replicas need a core each"):
        shares_of_cores([0, 1], 3)
