"""Joins the rounds of a comparison into a summary, and prints it."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import statistics

from compare import targets

# Figures where less is better, and those that say how a row was measured rather than how it went.
COSTS = {"seconds", "p50_us", "p90_us", "p99_us", "p999_us", "max_us", "pss_mb", "rss_mb", "threads", "processes"}
CIRCUMSTANCES = {"best", "samples"}
# The figure by which a row enters plots and means: the first of these that it has.
HEADLINES = ("per_second", "seconds", "pss_mb")
OURS = "shoal"
# No library takes part in rows that begin so.
REFERENCE = "memcpy"
# Rows that end so are for their tails: their mean is made by the few longest calls.
LOADED = "under load"

Values = dict[str, dict[str, dict[str, list[float]]]]  # row -> figure -> library -> value of each round


@dataclasses.dataclass(frozen=True)
class Spread:
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclasses.dataclass
class Entry:
    """One figure of one row."""

    row: str
    figure: str
    headline: bool
    spreads: dict[str, Spread]
    ratios: dict[str, float]  # how many times better Shoal is, by the medians
    target: str = ""
    met: bool | None = None


@dataclasses.dataclass
class Summary:
    entries: list[Entry]
    means: dict[str, float]  # library -> geometric mean of the ratios
    overall: list[tuple[str, float, str, bool]]  # what, value, target, met
    failures: dict[str, str]  # library -> why it has no rows


def collect(files: list[tuple[str, pathlib.Path]]) -> Values:
    """The rows of all rounds, from one file for each library, program and round."""
    values: Values = {}
    for library, path in files:
        for row, figures in json.loads(path.read_text()).items():
            for figure, value in figures.items():
                values.setdefault(row, {}).setdefault(figure, {}).setdefault(library, []).append(value)
    return values


def summarise(values: Values, failures: dict[str, str], bounds: dict[str, dict[str, targets.Bound]]) -> Summary:
    entries = [
        entry(row, figure, by_library, figure == headline(figures))
        for row, figures in values.items()
        for figure, by_library in figures.items()
        if figure not in CIRCUMSTANCES
    ]
    judge(entries, bounds)
    means = geometric_means(entries)
    return Summary(entries, means, judge_overall(entries, means, bounds.get(targets.OVERALL, {})), failures)


def headline(figures: dict[str, dict[str, list[float]]]) -> str:
    return next((name for name in HEADLINES if name in figures), next(iter(figures)))


def entry(row: str, figure: str, by_library: dict[str, list[float]], is_headline: bool) -> Entry:
    spreads = {library: Spread.of(values) for library, values in by_library.items()}
    ratios = {}
    if OURS in spreads and not row.startswith(REFERENCE):
        ours = spreads[OURS].median
        for library, spread in spreads.items():
            if library != OURS:
                ratios[library] = spread.median / ours if figure in COSTS else ours / spread.median
    return Entry(row, figure, is_headline, spreads, ratios)


def geometric_means(entries: list[Entry]) -> dict[str, float]:
    """For each library, over the rows with a rate that is not one under load."""
    ratios: dict[str, list[float]] = {}
    for one in entries:
        if one.figure == "per_second" and not one.row.endswith(LOADED):
            for library, ratio in one.ratios.items():
                ratios.setdefault(library, []).append(ratio)
    return {library: statistics.geometric_mean(found) for library, found in ratios.items()}


def judge(entries: list[Entry], bounds: dict[str, dict[str, targets.Bound]]) -> None:
    """Fills in targets and whether Shoal meets them."""
    medians = {(one.row, one.figure): one.spreads[OURS].median for one in entries if OURS in one.spreads}
    for one in entries:
        bound = bounds.get(one.row, {}).get(one.figure)
        if bound and OURS in one.spreads:
            others = {row: median for (row, figure), median in medians.items() if figure == one.figure}
            one.target = targets.describe(bound)
            one.met = targets.is_met(bound, one.spreads[OURS].median, one.ratios, others)


def judge_overall(
    entries: list[Entry], means: dict[str, float], bounds: dict[str, targets.Bound]
) -> list[tuple[str, float, str, bool]]:
    headlines = [(ratio, one.row) for one in entries if one.headline for ratio in one.ratios.values()]
    if not headlines or not means or not bounds:
        return []
    smallest, row = min(headlines)
    found = [
        ("geometric mean of the ratios", min(means.values()), bounds["geometric_mean"]),
        (f"smallest ratio ({row})", smallest, bounds["smallest_ratio"]),
    ]
    return [
        (what, value, targets.describe(bound), bool(targets.is_met(bound, value, {}, {})))
        for what, value, bound in found
    ]


def lines(summary: Summary) -> list[str]:
    """The summary as a table with one line per row, figure and library."""
    text = [f"{'row':46}{'figure':17}{'library':14}{'median':>14}  {'least .. most':28}{'times':>8}  target"]
    for one in summary.entries:
        name, figure = one.row, one.figure
        for library, spread in one.spreads.items():
            verdict = f"{one.target}: {word(one.met)}" if library == OURS and one.target else ""
            times = f"{one.ratios[library]:,.1f}" if library in one.ratios else ""
            between = f"{number(spread.least)} .. {number(spread.most)}"
            line = f"{name:46}{figure:17}{library:14}{number(spread.median):>14}  {between:28}{times:>8}  {verdict}"
            text.append(line.rstrip())
            name = figure = ""
    text += [f"{library}: {reason}" for library, reason in summary.failures.items()]
    if not summary.overall:
        text += [f"geometric mean of the ratios to {library}: {mean:,.1f}" for library, mean in summary.means.items()]
    text += [f"{what}: {number(value)}, {target}: {word(met)}" for what, value, target, met in summary.overall]
    judged = [one.met for one in summary.entries if one.target] + [met for *_, met in summary.overall]
    if judged:
        text.append(f"{judged.count(True)} of {len(judged)} targets met")
    return text


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.4g}"


def word(met: bool | None) -> str:
    return {True: "met", False: "not met", None: "not measured"}[met]
