"""The figure of `eval features`: by layer, the share of features that match one concept, by kind of concept.

Needs matplotlib, which nothing else uses: the extra `figures`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.evaluation.concepts import Group
from indexer.evaluation.features import FeatureMetrics, SlotScore, Subject
from indexer.evaluation.score import Shares
from scopeview.errors import InputError
from scopeview.slots import Layer, Token
from scopeview.store.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".svg", ".png", ".pdf")
# Okabe and Ito's colours, which colour-blind people tell apart; from the simplest concepts up.
_COLOURS: dict[Group, str] = {
    "colour": "#e69f00",
    "tint": "#f0e442",
    "background": "#0072b2",
    "background and tint": "#56b4e9",
    "place": "#999999",
    "count": "#000000",
    "kind": "#d55e00",
    "kind and colour": "#cc79a7",
}
_MARKERS: dict[Subject, str] = {"random SAE": "x", "neurons": "+", "chance": "_"}
_WORDS: dict[Group, str] = {
    "colour": "colour of a thing",
    "kind": "kind of thing",
    "count": "number of things",
}


def check_figure(path: Path) -> None:
    """Raises `InputError` for a name without a known format, and if matplotlib is missing."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"--figure {path} ends in none of {', '.join(SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError(f"--figure needs matplotlib ({error}): pip install 'scopeview[figures]'") from error


def draw_figure(found: FeatureMetrics, path: Path) -> None:
    """Draws one panel per token, one bar per layer, reproducibly. Raises as `check_figure`."""
    check_figure(path)
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tokens = list(dict.fromkeys(line.token for line in found.scores))
    settings: Any = {"svg.hashsalt": "scopeview", "svg.fonttype": "none", "font.size": 9}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(3.2 * len(tokens) + 2.2, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(tokens), sharey=True, squeeze=False)[0]
        for panel, token in zip(panels, tokens, strict=True):
            _panel(panel, token, [line for line in found.scores if line.token == token])
        panels[0].set_ylabel("features with a concept true of all 9 top scenes (%)")
        figure.suptitle(_title(found), fontsize=10)
        legend = _legend(panels)
        figure.legend(legend.values(), legend.keys(), loc="outside right center", frameon=False)
        with atomic_write(path) as part:
            figure.savefig(part, format=path.suffix[1:].lower(), dpi=160, metadata=_metadata(path))


def _title(found: FeatureMetrics) -> str:
    return (
        f"What features stand for, by layer: {found.n_scenes:,} scenes of world {found.seed}, "
        f"{found.n_concepts} concepts\n(features that fire on at least 9 scenes; n below each bar)"
    )


def _panel(panel: "Axes", token: Token, lines: Sequence[SlotScore]) -> None:
    by_subject: dict[Subject, dict[Layer, Shares]] = {}
    for line in lines:
        by_subject.setdefault(line.subject, {})[line.layer] = line.shares
    layers = list(by_subject["SAE"])
    _bars(panel, list(by_subject["SAE"].values()))
    for subject, marker in _MARKERS.items():
        found = by_subject.get(subject, {})
        points = [(at, found[layer].nine) for at, layer in enumerate(layers) if layer in found]
        _points(panel, [(at, share) for at, share in points if share is not None], subject, marker)
    labels = [f"{layer}\nn = {shares.n_scored:,}" for layer, shares in by_subject["SAE"].items()]
    panel.set_xticks(range(len(layers)), labels)
    panel.set_xlabel("layer")
    panel.set_title({"cls": "at CLS", "any": "at any token"}.get(token, f"at token {token}"), fontsize=9)
    panel.set_ylim(0, 105)
    panel.spines[["top", "right"]].set_visible(False)


def _bars(panel: "Axes", shares: Sequence[Shares]) -> None:
    places, heights = range(len(shares)), [0.0] * len(shares)
    style: Any = {"width": 0.72, "edgecolor": "white", "linewidth": 0.5}
    for group, colour in _COLOURS.items():
        parts = [100 * found.nine_by_group.get(group, 0) for found in shares]
        panel.bar(places, parts, bottom=heights, color=colour, label=_WORDS.get(group, group), **style)
        heights = [height + part for height, part in zip(heights, parts, strict=True)]


def _points(panel: "Axes", points: Sequence[tuple[int, float]], label: str, marker: str) -> None:
    from matplotlib.patheffects import withStroke

    halo = withStroke(linewidth=3, foreground="white")
    style: Any = {"color": "#333333", "markersize": 9, "path_effects": [halo]}
    if points:
        panel.plot(
            [at for at, _ in points], [100 * share for _, share in points], marker, label=label, **style
        )


def _legend(panels: Sequence["Axes"]) -> dict[str, Any]:
    """The legend: each label once, with its symbol; groups in the order of a bar, top to bottom."""
    found = {
        label: handle
        for panel in panels
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    groups = [label for group in reversed(_COLOURS) if (label := _WORDS.get(group, group)) in found]
    return {label: found[label] for label in [*groups, *(label for label in found if label not in groups)]}


def _metadata(path: Path) -> dict[str, None]:
    """Removes the date or program that matplotlib would write: equal figures give equal bytes."""
    names = {".svg": "Date", ".pdf": "CreationDate", ".png": "Software"}
    return {names[path.suffix.lower()]: None}
