"""What the benchmark of the build keeps."""

import json

from bench.build import Built
from bench.measure import ChildRun, Percentiles


def test_every_figure_is_kept_under_its_name() -> None:
    built = Built(1000, ChildRun(2.0, 3.0, 0.5), 0.4, 0.2, {"codes of an image": Percentiles(1.0, 2.0, 3.0)})
    kept = json.loads(json.dumps(built.figures()))
    assert kept["run"] == {"wall_s": 2.0, "cpu_s": 3.0, "peak_gb": 0.5}
    assert kept["reads"]["codes of an image"]["p99_ms"] == 2.0
    assert [budget.value for budget in built.budgets()] == [2.0, 3.0, 0.5, 0.4, 1.0, 2.0]
