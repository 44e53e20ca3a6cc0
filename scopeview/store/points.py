"""Questions about all active features of a slot at once, for maps and scatter plots."""

from scopeview.slots import Slot
from scopeview.store.columns import LISTED
from scopeview.store.gallery import NAMED
from scopeview.store.index_folder import IndexFolder, slot_values
from scopeview.store.records import MIN_GRID_IMAGES, Points

_FIGURES = ("max", "clarity", "selectivity", "score", "x", "y")


class PointReader(IndexFolder):
    """The part of `IndexReader` that asks for every active feature."""

    def points(self, slot: Slot) -> Points:
        """Of an index that was not described, counts and maxima are known and the rest is NaN or None."""
        figures = ", ".join(f"coalesce({name}, 'nan')::FLOAT AS {name}" for name in _FIGURES)
        columns = self.columns(
            f"SELECT feature, n_active, names[1] AS name, {figures} FROM {LISTED}"
            " WHERE n_active >= $least ORDER BY feature",
            {**slot_values(slot), "least": MIN_GRID_IMAGES},
        )
        return Points(
            feature=columns["feature"],
            n_active=columns["n_active"],
            max_activation=columns["max"],
            clarity=columns["clarity"],
            selectivity=columns["selectivity"],
            name_score=columns["score"],
            name=columns["name"].tolist(),  # a masked value becomes None
            x=columns["x"],
            y=columns["y"],
        )

    def named(self, slot: Slot, name: str) -> list[int]:
        """Active features of the slot with a name that contains `name`, whatever its case, in their order."""
        rows = self.sql(
            f"SELECT feature FROM {LISTED} WHERE n_active >= $least AND {NAMED} ORDER BY feature",
            {**slot_values(slot), "least": MIN_GRID_IMAGES, "name": name},
        )
        return [row[0] for row in rows]
