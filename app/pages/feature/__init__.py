"""`/{index}/{layer}/{feature}`: the page of one feature at one token, one module a section."""

from app.pages.feature.page import EmbedPage, FeaturePage, router

__all__ = ["EmbedPage", "FeaturePage", "router"]
