"""The comparisons of bench/: what they make of the figures they measured."""

import json
import pathlib
import sys

import pytest

BENCH = pathlib.Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))

import run as bench_run  # noqa: E402
from compare import measure, steps, table, targets  # noqa: E402

PROGRAM = """
import json, pathlib, sys
name, path = sys.argv[1], pathlib.Path(sys.argv[sys.argv.index("--json") + 1])
path.write_text(json.dumps({"row": {"per_second": 1.0}}))
"""


def figures(values, row, figure):
    """One row with one figure of Shoal and Ray."""
    return {row: {figure: {"shoal": values[0], "ray": values[1]}}}


def test_percentiles_are_times_that_were_measured():
    row = measure.distribution([number / 1e6 for number in range(1000, 0, -1)])
    assert [round(row[name]) for name in ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")] == [
        500,
        900,
        990,
        999,
        1000,
    ]
    assert row["samples"] == 1000
    assert measure.distribution([0.5])["p50_us"] == 500_000


def test_a_ratio_says_how_many_times_better_shoal_is_whether_more_or_less_is_better():
    rates = table.summarise(figures(([400.0, 100.0, 200.0], [20.0]), "calls", "per_second"), {}, {})
    assert rates.entries[0].ratios == {"ray": 10}
    assert (rates.entries[0].spreads["shoal"].least, rates.entries[0].spreads["shoal"].most) == (100, 400)
    times = table.summarise(figures(([2.0], [20.0]), "calls", "p50_us"), {}, {})
    assert times.entries[0].ratios == {"ray": 10}


def test_the_mean_is_geometric_and_leaves_out_times_rows_under_load_and_reference_rows():
    values = {
        **figures(([200.0], [100.0]), "a", "per_second"),
        **figures(([800.0], [100.0]), "b", "per_second"),
        **figures(([1.0], [100.0]), "shutdown", "seconds"),
        **figures(([900.0], [1.0]), "a under load", "per_second"),
        **figures(([100.0], [1.0]), "memcpy", "per_second"),
    }
    assert table.summarise(values, {}, {}).means == {"ray": pytest.approx(4)}


@pytest.mark.parametrize(
    ("bound", "met"),
    [
        ({"at_most": 8}, True),
        ({"at_most": 7.9}, False),
        ({"at_least": 8}, True),
        ({"at_least": 8.1}, False),
        ({"share": 0.8, "of": "memcpy"}, True),
        ({"share": 0.9, "of": "memcpy"}, False),
        ({"share": 0.9, "of": "nothing"}, None),
        ({"ahead_of": "ray"}, True),
        ({"ahead_of": "dask"}, None),
    ],
)
def test_a_target_is_met_exactly_within_its_bound(bound, met):
    assert targets.is_met(bound, 8, {"ray": 1.5}, {"memcpy": 10}) is met


def test_a_target_like_no_other_is_refused():
    with pytest.raises(ValueError, match="knows no bound"):
        targets.is_met({"about": 3}, 3, {}, {})


def test_all_targets_name_rows_that_are_measured():
    known = "".join(path.read_text() for path in (BENCH / "vs_ray").glob("*.py"))
    bounds = targets.load()
    overall = bounds.pop("overall")
    assert [row for row in bounds if f'"{row}"' not in known] == []
    for bound in [bound for of_row in [*bounds.values(), overall] for bound in of_row.values()]:
        targets.describe(bound)


def test_the_table_says_what_is_met_and_what_failed():
    bounds = {
        "calls": {"per_second": {"at_least": 300}},
        "overall": {"geometric_mean": {"at_least": 100}, "smallest_ratio": {"at_least": 1}},
    }
    values = figures(([200.0], [100.0]), "calls", "per_second")
    text = "\n".join(table.lines(table.summarise(values, {"dask": "no such module"}, bounds)))
    assert "at least 300: not met" in text
    assert "dask: no such module" in text
    assert "smallest ratio (calls): 2, at least 1: met" in text
    assert "1 of 3 targets met" in text


def test_a_step_that_fails_leaves_its_reason_and_one_that_hangs_is_ended(tmp_path):
    program = tmp_path / "program.py"
    step = steps.Step(tmp_path, program, "process_pool", 1)
    program.write_text(PROGRAM)
    steps.take(step, [], 60)
    assert json.loads(step.rows.read_text()) == {"row": {"per_second": 1.0}}
    step = steps.Step(tmp_path, program, "process_pool", 2)
    program.write_text(PROGRAM + "raise SystemExit('no luck')")
    steps.take(step, [], 60)
    assert not step.rows.exists()
    assert step.error.read_text() == "no luck"
    step = steps.Step(tmp_path, program, "process_pool", 3)
    program.write_text("import signal; signal.pause()")
    steps.take(step, [], 0.5)
    assert "did not end within" in step.error.read_text()
    assert step.is_done()


def test_a_run_goes_on_with_the_same_settings_and_begins_anew_with_others(tmp_path):
    folder = tmp_path / "run"
    bench_run.open_run(folder, {"rounds": 2, "commit": "a"}, fresh=False)
    first, second = bench_run.steps_of("vs_ray", folder, rounds=2)[:2]
    first.rows.write_text("{}")
    bench_run.open_run(folder, {"rounds": 2, "commit": "a"}, fresh=False)
    assert (first.is_done(), second.is_done()) == (True, False)
    bench_run.open_run(folder, {"rounds": 2, "commit": "b"}, fresh=False)
    assert not first.is_done()
    first.rows.write_text("{}")
    bench_run.open_run(folder, {"rounds": 2, "commit": "b"}, fresh=True)
    assert not first.is_done()


def test_rounds_are_interleaved():
    order = [(step.round, step.library) for step in bench_run.steps_of("vs_ray", pathlib.Path(), rounds=2)]
    assert order == [(number, library) for number in (1, 2) for library in ("shoal", "shoal", "ray", "ray")]
