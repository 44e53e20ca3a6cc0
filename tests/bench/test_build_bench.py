"""The results and goals of the build benchmark."""

import json

from bench.build import Built
from bench.measure import ChildRun, Percentiles


def test_every_figure_is_kept_under_its_name() -> None:
    reads = {"codes of an image": Percentiles(1.0, 2.0, 3.0)}
    bare = {"codes of an image": Percentiles(0.8, 0.9, 1.0)}
    sort, run = ChildRun(1.6, 2.5, 0.4), ChildRun(2.0, 3.0, 0.5)
    built = Built(1000, sort, run, 0.4, 0.2, reads, bare)
    kept = json.loads(json.dumps(built.figures()))
    assert kept["run"] == {"wall_s": 2.0, "cpu_s": 3.0, "peak_gb": 0.5}
    assert kept["reads"]["codes of an image"]["p99_ms"] == 2.0
    assert [budget.value for budget in built.budgets()] == [
        1.25,
        1.2,
        1.6,
        2.0,
        3.0,
        0.5,
        0.4,
        1.25,
        1.0,
        2.0,
    ]


def test_ratios_have_goals_and_seconds_have_none() -> None:
    reads = {"codes of an image": Percentiles(1.4, 2.0, 3.0)}
    bare = {"codes of an image": Percentiles(1.0, 1.0, 1.0)}
    built = Built(1000, ChildRun(1.0, 1.0, 0.4), ChildRun(9.0, 9.0, 0.5), 0.4, 0.2, reads, bare)
    missed = [budget.name for budget in built.budgets() if not budget.is_met]
    assert missed == ["build / bare sort", "codes of an image / bare read"]
    goals = {budget.name: budget.cells().bound for budget in built.budgets()}
    assert goals["build / bare sort"] == "at most 1.5 x"
    assert goals["build"] == goals["codes of an image, median"] == ""
