"""Questions about all features of a slot at once: how often they fire."""

from scopeview.slots import Slot
from scopeview.store.index_folder import IN_SLOT, IndexFolder, slot_values
from scopeview.store.records import DensityBin


class SurveyReader(IndexFolder):
    """The part of `IndexReader` that looks over a whole slot."""

    def density_bins(self, slot: Slot) -> list[DensityBin]:
        """How many features fire on 1 image, on 2 to 3, on 4 to 7, ..., up to all images: each bin doubles.

        Empty bins are there too; features that never fire are in none.
        """
        # The length of a number in base two, and not its logarithm: exact at every power.
        rows = self.sql(
            "SELECT length(bin(n_active)), count(*) FROM features"
            f" WHERE {IN_SLOT} AND n_active > 0 GROUP BY 1",
            slot_values(slot),
        )
        counts, n_images = dict(rows), self.manifest.n_images
        return [
            DensityBin(2 ** (bits - 1), min(2**bits - 1, n_images), counts.get(bits, 0))
            for bits in range(1, n_images.bit_length() + 1)
        ]
