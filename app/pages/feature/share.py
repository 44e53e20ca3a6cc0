"""Links, a citation and an embed code to copy from a feature's page. Pure."""

import re
from dataclasses import dataclass
from html import escape

from app.formatting import feature_name
from app.services.feature_details import FeatureDetails, Provenance
from app.state import OpenIndex
from app.urls import URLS, Urls

EMBED_PX = (420, 760)
"""Width and height that suit the embedded view."""


@dataclass(frozen=True)
class ShareView:
    """Links and texts to copy."""

    json_url: str
    images_url: str  # every image by rank, as JSON
    csv_url: str  # the first page of them, as CSV
    compare_url: str  # side by side with others
    bibtex: str
    embed_url: str  # the view without what is around the page
    embed_html: str  # an iframe of it


def share_view(index: OpenIndex, details: FeatureDetails, provenance: Provenance, base_url: str) -> ShareView:
    """Builds the view; `base_url` is scheme, host and path prefix of this site, without a final slash."""
    at = (index.slug, details.slot.layer, details.record.feature, details.slot.token)
    this = f"{details.slot.layer}:{details.record.feature}:{details.slot.token}"
    outside = Urls(base_url)
    embed_url = outside.feature(*at, embed=1)
    return ShareView(
        json_url=URLS.feature(*at, api=True),
        images_url=URLS.feature_images(*at),
        csv_url=URLS.feature_csv(*at),
        compare_url=URLS.compare(index.slug, features=this),
        bibtex=_bibtex(details, provenance, index.slug, outside.feature(*at)),
        embed_url=embed_url,
        embed_html=_frame(
            embed_url, f"{feature_name(details.slot.layer, details.record.feature)} · Scopeview"
        ),
    )


def _frame(url: str, title: str) -> str:
    width_px, height_px = EMBED_PX
    return (
        f'<iframe src="{escape(url)}" title="{escape(title)}" width="{width_px}" height="{height_px}"'
        ' frameborder="0" loading="lazy"></iframe>'
    )


def _bibtex(details: FeatureDetails, provenance: Provenance, slug: str, url: str) -> str:
    slot, record = details.slot, details.record
    names = details.description.names if details.description else []
    name = f" ({names[0].word})" if names else ""
    model = provenance.model + (f"@{provenance.model_revision}" if provenance.model_revision else "")
    made_of = (
        f"Model {model}; SAE {provenance.sae}, sha256 {provenance.sae_sha256};"
        f" {record.n_images} images of {provenance.dataset}"
    )
    fields = {
        "title": f"Feature {record.feature} of layer {slot.layer} at token {slot.token}{name}, {slug}",
        "howpublished": f"\\url{{{url}}}",
        "note": made_of,
        "year": provenance.created[:4],
    }
    lines = [
        f"  {name} = {{{text if name == 'howpublished' else _tex(text)}}}," for name, text in fields.items()
    ]
    return "\n".join([f"@misc{{scopeview-{slug}-{slot.name}-{record.feature},", *lines, "}"])


def _tex(text: str) -> str:
    """Returns the words with TeX's special characters escaped."""
    return re.sub(r"[\\{}$&#_%^~]", lambda found: _TEX[found[0]], text)


_TEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    **{mark: f"\\{mark}" for mark in "{}$&#_%"},
}
