"""`?embed=1`: a feature without what is around its page, for a frame in another site's page."""

from dataclasses import dataclass

from app.pages.feature.summary import SummaryView
from app.pages.render import Page


@dataclass(frozen=True)
class EmbedPage(Page):
    template = "feature_embed.html"
    for_everyone = True

    summary: SummaryView
