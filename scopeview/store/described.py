"""Questions about what the describe stage found: a feature's names, neighbours and places.

The answers lie in a database of their own beside the index's, attached as `described`. An index that was not
described (made by an older version, or still being made) answers with None.
"""

from scopeview.slots import Slot
from scopeview.store.folder import IndexFolder
from scopeview.store.records import Description


class DescribedReader(IndexFolder):
    """The part of `IndexReader` that reads descriptions."""

    @property
    def is_described(self) -> bool:
        """Has the describe stage been through this index?"""
        return False

    def description(self, slot: Slot, feature: int) -> Description | None:  # noqa: ARG002
        """None: this index was not described. Raises `NotFoundError` for a feature that the layer lacks."""
        return None
