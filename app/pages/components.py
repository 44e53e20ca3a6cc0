"""A picture and a feature as HTML, the same on every page; `templates/parts.html` hands them to templates.

Written in Python and not as macros, since a feature's page has a hundred of them. Every text that comes from
elsewhere is escaped here, one by one.
"""

from markupsafe import Markup, escape

from app.formatting import count, significant
from app.pages.figures import density, number
from app.pages.parts import Bar, FeatureView, Mark, PictureView

MAY_BE_UNSAFE = "may be unsafe · show"


def bar(bar: Bar, label: str) -> Markup:
    return Markup(
        '<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(label)}">'
        '<rect class="bar-track" width="100" height="4"/>'
        f'<rect class="heat-{bar.step}" width="{100 * bar.part:.2f}" height="4"/></svg>'
    )


def cover(words: str) -> Markup:
    """Over a picture that is blurred, until it is clicked."""
    return Markup(f'<label class="cover"><input type="checkbox"><span>{escape(words)}</span></label>')


def picture(picture: PictureView, eager: bool = False, covered: str = MAY_BE_UNSAFE) -> Markup:
    """`covered`: what is said over one that is blurred."""
    if picture.gone:
        return _GONE
    size, lazy = picture.size_px, "" if eager else ' loading="lazy"'
    image = (
        f'<img src="{escape(picture.src)}" alt="{escape(picture.alt)}" width="{size}" height="{size}"'
        f' decoding="async"{lazy}>{_mark(picture.mark) if picture.mark else ""}'
    )
    linked = f'<a href="{escape(picture.url)}">{image}</a>' if picture.url else image
    if picture.unsafe:
        return Markup(f'<span class="picture veiled">{linked}{cover(covered)}</span>')
    return Markup(f'<span class="picture">{linked}</span>')


def nine(feature: FeatureView) -> Markup:
    """The pictures of a feature: its sprite, or what pictures it has, or a word."""
    if feature.sprite:
        return _sprite(feature, feature.sprite)
    if feature.thumbs:
        return Markup(
            f'<span class="nine">{"".join(picture(each, covered="show") for each in feature.thumbs)}</span>'
        )
    return Markup(
        f'<a class="nine never" href="{escape(feature.url)}" tabindex="-1" aria-hidden="true">never fires</a>'
    )


def feature(feature: FeatureView) -> Markup:
    """Introduced the same way everywhere: pictures, name, a bar or its density, a link to copy."""
    url = escape(feature.url)
    copy = f' <copy-link data-url="{url}"></copy-link>'
    fires = f"fires on {count(feature.n_active)} of {count(feature.n_images)} images"
    return Markup(
        f'<article class="feature">{nine(feature)}'
        f'<div class="feature-line feature-name"><h3><a href="{url}">{escape(feature.name)}</a></h3>'
        f"{'' if feature.bar else copy}</div>{_word(feature)}{_active(feature)}"
        f'<p class="feature-line quiet"><span title="{fires}">{density(feature.density)}</span>'
        f"{copy if feature.bar else _highest(feature)}</p>{_place(feature)}</article>"
    )


def _sprite(feature: FeatureView, url: str) -> Markup:
    size, veiled = feature.size_px, " veiled" if feature.unsafe else ""
    return Markup(
        f'<span class="picture sprite{veiled}">'
        f'<a href="{escape(feature.url)}" tabindex="-1" aria-hidden="true"><img src="{escape(url)}" alt=""'
        f' width="{size}" height="{size}" decoding="async" loading="lazy"></a>'
        f"{cover(MAY_BE_UNSAFE) if feature.unsafe else ''}</span>"
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
    drawn = bar(feature.bar, "activation, as a part of the highest in the index")
    return f'<p class="feature-line">{drawn} {number(feature.bar.value)}</p>'


def _highest(feature: FeatureView) -> str:
    if feature.max_activation is None:
        return ""
    highest = number(feature.max_activation)
    return f' <span class="highest" title="its highest activation in the index">max {highest}</span>'


def _place(feature: FeatureView) -> str:
    return f'<p class="feature-line quiet">{escape(feature.place)}</p>' if feature.place else ""


_GONE = Markup(
    '<span class="picture gone" title="removed by the operator of this server"><span>removed</span></span>'
)
