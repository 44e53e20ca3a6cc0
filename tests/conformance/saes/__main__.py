"""Reads every file that the libraries wrote, prints one table, and exits 1 when anything differs.

    scripts/conformance-saes

A row is one SAE on 1,000 tokens. The same features must fire, with values and the reconstruction (in raw
units) equal to 1e-5 of the largest; a feature that only one side keeps counts as a near tie where its
pre-activation is within 1e-6 of the boundary, relative to the largest.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from scopeview.importers import load_sae, read_suite
from scopeview.sae.autoencoder import Sae
from tests.conformance.comparison import Array
from tests.image_sets import PROJECT_DIR

THEIR_PYTHON = PROJECT_DIR / ".venv-conformance-saes" / "bin" / "python"
LAYER = 3
VALUE_RTOL = 1e-5
TIE_RTOL = 1e-6


@dataclass(frozen=True)
class Compared:
    """How far the two sides are apart; differences are relative to the largest value."""

    n_active: int
    n_other: int  # features that only one side keeps
    n_near_ties: int  # of those, next to the boundary
    codes: float  # of the features that both keep
    rebuilt: float

    @property
    def holds(self) -> bool:
        n_wrong = self.n_other - self.n_near_ties
        return self.n_active > 0 and n_wrong == 0 and max(self.codes, self.rebuilt) <= VALUE_RTOL


def main() -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="scopeview-conformance-") as work:
        folder = Path(work)
        os.environ["SCOPEVIEW_CACHE"] = str(folder / "cache")
        cases = folder / "cases"
        cases.mkdir()
        theirs = Path(__file__).with_name("theirs.py")
        offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
        subprocess.run([THEIR_PYTHON, theirs, f"--out={cases}"], check=True, env=offline)
        found = {case.name: compare(case) for case in sorted(cases.iterdir())}
    width = max(map(len, found), default=0)
    print(f"{'SAE':<{width}}{'active':>9}{'other':>7}{'near tie':>10}{'codes':>10}{'rebuilt':>10}")
    for name, one in found.items():
        counts = f"{one.n_active:>9,}{one.n_other:>7}{one.n_near_ties:>10}"
        mark = "" if one.holds else "  DIFFERS"
        print(f"{name:<{width}}{counts}{one.codes:>10.1e}{one.rebuilt:>10.1e}{mark}")
    holds = len(found) > 0 and all(one.holds for one in found.values())
    print(f"\n{len(found)} SAEs, {time.monotonic() - started:.0f} s: {'holds' if holds else 'DOES NOT HOLD'}")
    return 0 if holds else 1


def compare(case: Path) -> Compared:
    """One case's files through exactly the code that the indexer uses."""
    expected = np.load(case / "expected.npz")
    [source] = read_suite(str(case), [LAYER]).sources
    sae = load_sae(source)
    if sae.config.normalization == "center_scale":  # VISAEBench's own loader takes what it is given
        sae = sae.without_standardization()
    x = torch.from_numpy(expected["x"])
    codes = sae.encode(x)
    dense = torch.zeros(len(x), sae.config.n_features).scatter(1, codes.features, codes.values).numpy()
    theirs = expected["codes"]
    only_one = (dense != 0) != (theirs != 0)
    both = (dense != 0) & (theirs != 0)
    rebuilt = sae.denormalize(sae.decode(codes), x).numpy()
    return Compared(
        n_active=int((theirs != 0).sum()),
        n_other=int(only_one.sum()),
        n_near_ties=int((only_one & near_boundary(sae, x)).sum()),
        codes=apart(dense[both], theirs[both]),
        rebuilt=apart(rebuilt, expected["rebuilt"]),
    )


def near_boundary(sae: Sae, x: torch.Tensor) -> Array:
    """Where a feature's pre-activation is next to the value at which it begins to be kept."""
    with torch.no_grad():
        pre = sae._preactivations(sae.normalize(x))
        ranked = pre.abs() if sae.config.architecture == "abstopk" else pre
        if sae.config.k is None:
            boundary = torch.zeros(()) if sae.threshold is None else sae.threshold.clamp_min(0)
        else:
            boundary = ranked.topk(sae.config.k, dim=1).values[:, -1:]
        near: Array = ((ranked - boundary).abs() <= TIE_RTOL * ranked.abs().max()).numpy()
    return near


def apart(ours: Array, theirs: Array) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(ours.astype(np.float64) - theirs).max() / np.abs(theirs).max())


if __name__ == "__main__":
    sys.exit(main())
