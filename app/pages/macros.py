"""HTML of images and features; `templates/parts.html` passes on what many pages use.

It is written in Python and not as macros, since a feature's page has a hundred of them. Every text from
elsewhere is escaped here, one by one. Only results for templates are marked as HTML, since a mark costs as
much as the text it marks.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from html import escape
from typing import ParamSpec

from markupsafe import Markup

from app.formatting import count, exact, significant
from app.pages.cards import Bar, FeatureView, ImageView, Mark, NearLink, NeighborView, RankedView
from app.pages.numbers import density_html, number_html

MAY_BE_UNSAFE = "may be unsafe · show"

_Given = ParamSpec("_Given")


def _marked(build: Callable[_Given, str]) -> Callable[_Given, Markup]:
    """Makes `build` return HTML that templates take as it is."""

    @wraps(build)
    def marked(*args: _Given.args, **kwargs: _Given.kwargs) -> Markup:
        return Markup(build(*args, **kwargs))

    return marked


def _bar(bar: Bar, label: str) -> str:
    return (
        '<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(label)}">'
        '<rect class="bar-track" width="100" height="4"/>'
        f'<rect class="heat-{bar.step}" width="{100 * bar.part:.2f}" height="4"/></svg>'
    )


def _cover(words: str) -> str:
    """Covers a blurred image until it is clicked."""
    return f'<label class="cover"><input type="checkbox"><span>{escape(words)}</span></label>'


def _image(image: ImageView, eager: bool = False, covered: str = MAY_BE_UNSAFE) -> str:
    """Draws an image; `covered` is the text over a blurred one."""
    if image.gone:
        return _GONE
    size, lazy = image.size_px, "" if eager else ' loading="lazy"'
    tag = (
        f'<img src="{escape(image.src)}" alt="{escape(image.alt)}" width="{size}" height="{size}"'
        f' decoding="async"{lazy}>{_mark(image.mark) if image.mark else ""}'
    )
    linked = f'<a href="{escape(image.url)}">{tag}</a>' if image.url else tag
    if image.unsafe:
        return f'<span class="image blurred">{linked}{_cover(covered)}</span>'
    return f'<span class="image">{linked}</span>'


def _nine(feature: FeatureView) -> str:
    """Draws the images of a feature: its sprite, else its thumbnails, else `never fires`."""
    if feature.sprite:
        return _sprite(feature, feature.sprite)
    if feature.thumbs:
        thumbs = "".join(_image(each, covered="show") for each in feature.thumbs)
        return f'<span class="image-grid">{thumbs}</span>'
    url = escape(feature.url)
    return f'<a class="image-grid never" href="{url}" tabindex="-1" aria-hidden="true">never fires</a>'


def _feature(feature: FeatureView) -> str:
    """Draws a feature the same way everywhere: images, name, a bar or its density, a link to copy."""
    url = escape(feature.url)
    copy = f' <copy-link data-url="{url}"></copy-link>'
    fires = f"fires on {count(feature.n_active)} of {count(feature.n_images)} images"
    return (
        f'<article class="feature">{_nine(feature)}'
        f'<div class="feature-line feature-name"><h3><a href="{url}">{escape(feature.name)}</a></h3>'
        f"{'' if feature.bar else copy}</div>{_word(feature)}{_active(feature)}"
        f'<p class="feature-line quiet"><span title="{fires}">{density_html(feature.density)}</span>'
        f"{copy if feature.bar else _highest(feature)}</p>{_place(feature)}</article>"
    )


def _heated(image: RankedView, heat_url: str | None, eager: bool = False) -> str:
    """Draws an image that a heatmap can be laid over."""
    shown = _image(image.image, eager)
    heat = heat_url and not image.image.gone
    over = f'<feature-heatmap data-image="{image.image_id}"></feature-heatmap>' if heat else ""
    return f'<span class="with-heatmap">{shown}{over}</span>'


def _ranked(image: RankedView, heat_url: str | None) -> str:
    """Draws an image at its rank; pointing at it marks it in the histogram."""
    strength = f"{_bar(image.bar, 'activation relative to the maximum')} {number_html(image.bar.value)}"
    caption = f'<p class="caption" dir="auto">{escape(image.caption)}</p>' if image.caption else ""
    return (
        f"{_heated(image, heat_url)}"
        f'<p class="feature-line"><span class="rank">{image.rank}</span> {strength}</p>'
        f'{caption}<p class="quiet ranked-facts">{_facts(image)}</p>'
    )


def _examples(images: Sequence[RankedView], heat_url: str | None) -> str:
    """Draws the items of a list of examples, in few words."""
    return "".join(_example(image, heat_url) for image in images)


def _example(image: RankedView, heat_url: str | None) -> str:
    rank = f'<span class="rank-here quiet">{image.rank}</span>'
    return (
        f'<li data-activation="{exact(image.bar.value)}" data-rank="{image.rank}">{_heated(image, heat_url)}'
        f'<p class="feature-line">{rank} {number_html(image.bar.value)}</p></li>'
    )


def _nears(found: Sequence[NeighborView]) -> str:
    """Draws the items of a list of neighbors."""
    return "".join(f'<li class="neighbor">{_near(each)}</li>' for each in found)


def _near(near: NeighborView) -> str:
    """Draws a neighbor: the feature as everywhere, and its score."""
    score = f'<p class="neighbor-score quiet">{near.score_term} {number_html(near.score)}</p>'
    return f"{_feature(near.feature)}{score}"


def _near_lines(found: Sequence[NearLink]) -> str:
    """Draws more neighbors, one per line."""
    return f"<ul>{''.join(map(_near_line, found))}</ul>" if found else ""


def _near_line(near: NearLink) -> str:
    title = f' title="{escape(near.name)}"' if near.name else ""
    name = f' <span class="quiet" dir="auto">{escape(near.name)}</span>' if near.name else ""
    linked = f'<a href="{escape(near.url)}">{near.label}</a>'
    return f'<li class="neighbor-more"{title}>{linked} {number_html(near.score)}{name}</li>'


def _facts(image: RankedView) -> str:
    source, report = image.source, image.image.report
    parts = [
        f"<span>{image.place}</span>" if image.place else "",
        f'<a href="{escape(source)}" rel="noreferrer nofollow">source</a>' if source else "",
        f'<a class="report-link" href="{escape(report)}" rel="nofollow">report</a>' if report else "",
    ]
    return " ".join(part for part in parts if part)


def _sprite(feature: FeatureView, url: str) -> str:
    size, blurred = feature.size_px, " blurred" if feature.unsafe else ""
    return (
        f'<span class="image sprite{blurred}">'
        f'<a href="{escape(feature.url)}" tabindex="-1" aria-hidden="true"><img src="{escape(url)}" alt=""'
        f' width="{size}" height="{size}" decoding="async" loading="lazy"></a>'
        f"{_cover(MAY_BE_UNSAFE) if feature.unsafe else ''}</span>"
    )


def _mark(mark: Mark) -> str:
    words, at = escape(mark.words), f'x="{mark.x}" y="{mark.y}" width="1" height="1"'
    return (
        f'<svg class="mark" viewBox="0 0 {mark.grid} {mark.grid}" role="img" aria-label="{words}">'
        f'<title>{words}</title><rect class="mark-under" {at}/><rect class="mark-over" {at}/></svg>'
    )


def _word(feature: FeatureView) -> str:
    if not feature.word:
        return ""
    word, score = escape(feature.word), feature.word_score
    cosine = "" if score is None else f", cosine {significant(score)}"
    return f'<p class="feature-word" dir="auto" title="{word}{cosine}">{word}</p>'


def _active(feature: FeatureView) -> str:
    if not feature.bar:
        return ""
    drawn = _bar(feature.bar, "activation relative to the maximum in the index")
    return f'<p class="feature-line">{drawn} {number_html(feature.bar.value)}</p>'


def _highest(feature: FeatureView) -> str:
    if feature.max_activation is None:
        return ""
    highest = number_html(feature.max_activation)
    return f' <span class="highest" title="maximum activation in the index">max {highest}</span>'


def _place(feature: FeatureView) -> str:
    return f'<p class="feature-line quiet">{escape(feature.place)}</p>' if feature.place else ""


_GONE = (
    '<span class="image removed" title="removed by the operator of this server"><span>removed</span></span>'
)

bar = _marked(_bar)
cover = _marked(_cover)
image = _marked(_image)
nine = _marked(_nine)
feature = _marked(_feature)
heated = _marked(_heated)
ranked = _marked(_ranked)
examples = _marked(_examples)
nears = _marked(_nears)
near = _marked(_near)
near_lines = _marked(_near_lines)
