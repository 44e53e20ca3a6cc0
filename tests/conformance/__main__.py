"""Runs both sides on the same files, prints one table of figures, and exits 1 when anything differs.

    scripts/conformance                 a small model with 257 tokens and 4,096 features, all images
    scripts/conformance --full          ViT-L/14's configuration and 65,536 features, 8 images
    scripts/conformance --images 70     other than the default number of images

The images are real web images where the corpus is at hand (CONTRIBUTING.md), else drawn ones in the same
codings. Nothing is left behind but the environment.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conformance import ours
from tests.conformance.checkpoint import FULL, SMALL, Setup, write_model, write_saes
from tests.conformance.comparison import VALUE_RTOL, Arrays, Difference, LatentDifference
from tests.image_sets import ORIENTATION_TAG, PROJECT_DIR, corpus, write_image_sets

THEIR_PYTHON = PROJECT_DIR / ".venv-conformance" / "bin" / "python"


@dataclass
class Outcome:
    """All comparisons of a run, by name; `reference` is within our environment, the others across the two."""

    pixels: Difference = field(default_factory=Difference)
    reference: dict[int, Difference] = field(default_factory=dict)
    taps: dict[int, Difference] = field(default_factory=dict)
    latents: dict[tuple[int, str], LatentDifference] = field(default_factory=dict)

    def add(self, mine: Arrays, yours: Arrays, layers: Iterable[int]) -> None:
        self.pixels.add(mine["pixel_values"], yours["pixel_values"])
        for layer in layers:
            taps = mine[f"taps_{layer}"]
            self.reference.setdefault(layer, Difference()).add(taps, mine[f"reference_{layer}"])
            self.taps.setdefault(layer, Difference()).add(taps, yours[f"taps_{layer}"])
            for tokens in ours.TOKENS:
                key = f"{layer}_{tokens}"
                self.latents.setdefault((layer, tokens), LatentDifference()).add(
                    (mine[f"features_{key}"], mine[f"values_{key}"]),
                    (yours[f"features_{key}"], yours[f"values_{key}"]),
                    mine[f"pre_{key}"],
                )

    @property
    def holds(self) -> bool:
        return (
            self.pixels.equal
            and all(reference.equal for reference in self.reference.values())
            and all(taps.max_relative <= VALUE_RTOL for taps in self.taps.values())
            and all(latents.holds for latents in self.latents.values())
        )

    def print(self) -> None:
        print(f"{'dense':<34}{'values':>12}{'unequal':>12}{'max abs':>12}{'max rel':>12}")
        _print_difference("pixel_values, ours and theirs", self.pixels)
        for layer, difference in self.reference.items():
            _print_difference(f"tap {layer} and hidden_states[{layer + 1}]", difference)
        for layer, difference in self.taps.items():
            _print_difference(f"tap {layer}, ours and theirs", difference)
        print(
            f"\n{'latents':<26}{'rows':>9}{'bitwise':>9}{'other':>8}"
            f"{'near tie':>10}{'wrong':>8}{'max rel':>12}"
        )
        for (layer, tokens), latents in self.latents.items():
            counts = (
                f"{latents.n_rows:>9,}{latents.n_bitwise:>9,}{latents.n_other:>8}{latents.n_near_ties:>10}"
            )
            print(
                f"layer {layer}, token {tokens:<11}{counts}{latents.n_wrong:>8}{latents.max_relative:>12.2e}"
            )
            for example in latents.examples[:3]:
                print(f"    {example}")


def main() -> int:
    args = _arguments()
    setup = FULL if args.full else SMALL
    n_images = args.images or setup.n_images
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="scopeview-conformance-") as work:
        folder = Path(work)
        os.environ["SCOPEVIEW_CACHE"] = str(folder / "cache")
        found = corpus()
        sets = found or write_image_sets(folder / "sets")
        n_rotated = _extract(sets.laion, folder / "images", n_images)
        model, saes = write_model(folder / "model", setup), write_saes(folder / "saes", setup)
        _run_theirs(folder, setup)
        outcome = Outcome()
        images = sorted((folder / "images").iterdir())
        batches = ours.run(model, saes, images, setup.layers, setup.batch_size)
        for mine, file in zip(batches, sorted((folder / "theirs").iterdir()), strict=True):
            with np.load(file) as yours:
                outcome.add(mine, yours, setup.layers)
    sizes = f"{setup.vision['num_hidden_layers']} blocks of width {setup.vision['hidden_size']}"
    print(
        f"\n{len(images)} {'real' if found else 'drawn'} images "
        f"({n_rotated} left out, which have an EXIF rotation that only we apply)"
    )
    print(f"{sizes}, {setup.n_features:,} features, k = {setup.k}; {time.monotonic() - started:.0f} s\n")
    outcome.print()
    print("\nholds" if outcome.holds else "\nDOES NOT HOLD")
    return 0 if outcome.holds else 1


def _extract(laion: Path, folder: Path, n_images: int | None) -> int:
    """The images of the tars as files, up to `n_images`; how many were left out, as rotated by EXIF."""
    folder.mkdir()
    n_rotated = 0
    for tar in sorted(laion.glob("*.tar")):
        with tarfile.open(tar) as archive:
            for member in archive:
                data = archive.extractfile(member)
                if data is None or not member.name.endswith(".jpg"):
                    continue
                image = folder / f"{len(list(folder.iterdir())):04d}"
                image.write_bytes(data.read())
                with Image.open(image) as opened:
                    rotated = opened.getexif().get(ORIENTATION_TAG, 1) != 1
                if rotated:
                    image.unlink()
                    n_rotated += 1
                elif n_images is not None and int(image.name) + 1 == n_images:
                    return n_rotated
    return n_rotated


def _run_theirs(folder: Path, setup: Setup) -> None:
    (folder / "theirs").mkdir()
    arguments = [f"--{name}={folder / name}" for name in ("model", "saes", "images")]
    arguments += [f"--out={folder / 'theirs'}", f"--batch-size={setup.batch_size}", "--layers"]
    arguments += [str(layer) for layer in setup.layers]
    script = Path(__file__).with_name("theirs.py")
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([THEIR_PYTHON, script, *arguments], check=True, env=offline)


def _print_difference(name: str, found: Difference) -> None:
    print(
        f"{name:<34}{found.n_values:>12,}{found.n_unequal:>12,}"
        f"{found.max_absolute:>12.2e}{found.max_relative:>12.2e}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--full", action="store_true", help="ViT-L/14 and 65,536 features")
    parser.add_argument("--images", type=int, metavar="N", help="how many images")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
