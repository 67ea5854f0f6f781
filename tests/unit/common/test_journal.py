from components.common.journal import Journal, Usage
from components.common.sampling import Sample

FIRST, SECOND = Sample("one\nline   two", "stop", 3, 5), Sample("zwei", "length", 4, 6)


def written(path):
    with Journal(path) as journal:
        journal.add("a", FIRST)
        journal.add("b", SECOND)


def test_what_was_added_is_found_by_the_next_and_counted(tmp_path):
    written(tmp_path / "journal")
    journal = Journal(tmp_path / "journal")
    assert (journal.find("a"), journal.find("c"), journal.find("b")) == (FIRST, None, SECOND)
    assert journal.usage == Usage(11, 7)


def test_a_line_that_was_cut_off_is_dropped_and_written_over(tmp_path):
    path = tmp_path / "journal"
    written(path)
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines(keepends=True)[1])):
        path.write_bytes(whole[:-cut])
        with Journal(path) as journal:
            assert (journal.find("a"), journal.find("b")) == (FIRST, None)
            journal.add("b", SECOND)
        assert path.read_bytes() == whole


def test_nothing_after_a_damaged_line_is_believed(tmp_path):
    path = tmp_path / "journal"
    written(path)
    path.write_bytes(b"\0\0\0\n" + path.read_bytes())
    assert Journal(path).find("a") is None
    assert path.read_bytes() == b""


def test_a_journal_that_has_served_its_purpose_goes(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        journal.add("a", FIRST)
        journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_without_a_path_it_only_counts():
    with Journal() as journal:
        journal.add("a", FIRST)
        journal.remove()
    assert (journal.find("a"), journal.usage) == (None, Usage(5, 3))


def test_costs_are_per_million_tokens_and_unknown_without_a_price():
    usage = Usage(2_000_000, 500_000)
    assert usage.cost(None, None) is None
    assert usage.cost(2.5, 10.0) == 10.0
    assert usage.cost(None, 10.0) == 5.0
