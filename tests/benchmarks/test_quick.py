"""The benchmark runs: tiny numbers, so that it never rots."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import BEGIN, END, Column, Figures, Goal, Row, Table, markdown, percentile_ms, ratios, write_into

CHECKOUT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 420


def quick(*options: str) -> str:
    """Run it and return what it printed."""
    command = [sys.executable, "-m", "benchmarks", "--quick", *options]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said, errors = process.communicate(timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()  # so that it ends what it has started
            said, errors = process.communicate(timeout=MOST_SECONDS)
    assert process.returncode == 0, errors
    return said


@pytest.mark.slow
@pytest.mark.deadline(2 * MOST_SECONDS + 30)
def test_quick_run_measures_everything_and_leaves_the_readme():
    """Every workload gives its table; only a whole run writes into the README. No peer needs to be installed."""
    pages = [CHECKOUT / "README.md", CHECKOUT / "docs" / "performance.md", CHECKOUT / "docs" / "scaling.md"]
    before = [page.read_bytes() for page in pages]
    said = quick("--peers", "floor,naive")
    assert "| create an agent: **the hub** |" in said
    assert said.count("| naive aiohttp") == 6
    for row in (
        "the hub: API key",
        "compressed, 50/s",
        "creates alone",
        "publish, heard",
        "atomic batches of 100",
        "**the hub**, webhook",
        "beside 50 creates/s",
        "**the hub**, a replay into",
        "2 subscriptions",
        "PostgreSQL's `ts_rank`",
        "bare aiohttp, a relay",
        "**the hub**, who asked reads",
        "batches of 100 over REST",
        "**the hub's engine**",
        "2 processes",
        "of now, of one type",
        "asyncpg, a plain upsert",
        "a room of 40",
        "`serve --workers 2`",
        "2 read nothing",
        "server-sent events, a log",
        "log channel",
        "filtered, 8 in flight",
        "plain, beside a filter",
        "newest of each key",
        "**JavaScript SDK** in Node",
    ):
        assert f"| {row}" in said
    assert "| subscribers | POST answered, p50 ms |" in said
    assert [page.read_bytes() for page in pages] == before


@pytest.mark.slow
@pytest.mark.deadline(2 * MOST_SECONDS + 30)
def test_without_a_compiler_python_makes_the_load_and_says_so():
    """The stand-in speaks the same language as the C programs."""
    workloads = [part for name in ("room", "rooms", "idle", "rest", "storm") for part in ("--only", name)]
    said = quick(*workloads, "--peers", "naive", "--no-compiler")
    assert "Without a C compiler" in said
    assert "**storm**: needs a C compiler" in said
    assert said.count("| naive aiohttp") == 3
    assert "| create an agent: bare aiohttp" in said


def test_unknown_peer_is_refused():
    """A figure that nobody asked for is better than one that is missing without a word."""
    command = [sys.executable, "-m", "benchmarks", "--peers", "nobody"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no peer nobody" in done.stderr


def test_table_replaces_what_stands_between_the_markers(tmp_path: Path):
    """What surrounds the markers stays as it is, however often the table is written."""
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_into("new\n", readme)
    write_into("newer\n", readme)
    assert readme.read_text() == f"before\n{BEGIN}\n\nnewer\n\n{END}\nafter\n"


def test_readme_without_markers_is_refused(tmp_path: Path):
    """Figures are not appended somewhere."""
    readme = tmp_path / "README.md"
    readme.write_text(f"{END} {BEGIN}")
    with pytest.raises(ValueError, match="once each"):
        write_into("new", readme)


def test_percentile_is_the_nearest_rank():
    """The 99th of a hundred is the last but one; of one value it is that value."""
    values = [number * 1_000_000 for number in range(100, 0, -1)]
    assert percentile_ms(values, 99) == 99
    assert percentile_ms(values, 50) == 50
    assert percentile_ms([7_000_000], 99) == 7


def test_cell_shows_the_middle_of_the_rounds():
    """Three rounds are told as least, middle and most; a figure that was not taken is left empty."""
    assert Column("speed", "speed").cell([3.0, 1.0, 2.0]) == "1 / **2** / 3"
    assert Column("speed", "speed", scale=1e-3, digits=1, unit=" ms", spread=False).cell([3000, 1000]) == "2.0 ms"
    assert Column("speed", "speed").cell(None) == ""


def test_ratio_is_taken_round_by_round():
    """What slowed one round slowed both of it."""
    assert ratios([4.0, 9.0], [2.0, 3.0]) == [2.0, 3.0]


def test_goal_is_judged_by_the_middle_round():
    """One good round is not enough, one bad one does no harm."""
    assert Goal.at_least("8", [9.0, 8.0, 1.0], 8.0) == Goal("at least 8", "8.00", is_met=True)
    assert not Goal.at_most("8", [9.0, 8.5, 1.0], 8.0).is_met


def test_short_form_leaves_out_what_is_not_main():
    """The README has the main rows, columns and tables, and every goal; the page has everything."""
    columns = (Column("speed", "speed"), Column("busy", "busy", main=False))
    rows = [Row("hub", {"speed": [1.0], "busy": [2.0]}), Row("other", {"speed": [3.0]}, main=False)]
    goals = [Goal.at_least("5", [1.0], 5.0)]
    figures = Figures(
        "a machine",
        slower_generator=False,
        complete=True,
        tables=[
            Table("room", "**Main:**", "server", columns, rows, goals, ["A note."]),
            Table("rest", "**More:**", "server", columns, rows, main=False),
        ],
    )
    short, whole = markdown(figures, short=True), markdown(figures, short=False)
    assert "| server | speed |\n|---|---|\n| hub | **1** |\n" in short
    assert "| room | at least 5 | 1.00 | **missed** |" in short
    assert "| other | **3** |  |" in whole
    assert [text in short for text in ("busy", "other", "More", "note")] == [False] * 4
    assert [text in whole for text in ("busy", "other", "More", "note")] == [True] * 4
