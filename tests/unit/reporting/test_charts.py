"""The geometry of the charts holds for any figures."""

from hypothesis import assume, given
from hypothesis import strategies as st

from components.reporting.charts import number_axis, rate_axis, shade
from components.reporting.figures import Figure

RATE = st.floats(0, 1)


@given(st.lists(st.tuples(RATE, RATE, RATE).map(sorted), max_size=12))
def test_a_rate_axis_holds_every_interval_and_the_middle(triples: list[list[float]]) -> None:
    axis = rate_axis([Figure("win_rate", value, low, high) for low, value, high in triples])
    assert 0 <= axis.low <= min([0.5, *(low for low, _, _ in triples)])
    assert max([0.5, *(high for _, _, high in triples)]) <= axis.high <= 1
    assert "50\u00a0%" in [text for _, text in axis.ticks]
    assert [at for at, _ in axis.ticks] == sorted({at for at, _ in axis.ticks}) and 2 <= len(axis.ticks) <= 7


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_a_number_axis_holds_every_value_on_few_round_ticks(values: list[float]) -> None:
    assume(max(values) == min(values) or max(values) - min(values) > 1e-6 * max(map(abs, values)))
    assume(max(map(abs, values)) == 0 or max(map(abs, values)) > 1e-3)
    axis = number_axis(values)
    slack = 1e-9 * max(1.0, *map(abs, values))
    assert axis.low - slack <= min(values) and max(values) <= axis.high + slack
    assert 2 <= len(axis.ticks) <= 7 and len({text for _, text in axis.ticks}) == len(axis.ticks)


@given(RATE)
def test_shades_are_symmetric_and_bounded(value: float) -> None:
    assert -4 <= shade(value, 0.5, 0.3) <= 4 and shade(value, 0.5, 0.3) == -shade(1 - value, 0.5, 0.3)
    assert shade(0.5, 0.5, 0.3) == 0 and (shade(value, 0.5, 0.3) >= 0 or value < 0.5)
