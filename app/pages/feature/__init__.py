"""`/{index}/{layer}/{feature}`: one feature at one token, a module a part; `page` puts them together."""

from app.pages.feature.embed import EmbedPage
from app.pages.feature.page import FeaturePage, router

__all__ = ["EmbedPage", "FeaturePage", "router"]
