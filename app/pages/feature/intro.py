"""How a feature is introduced, on its page and in its embedded view alike. Pure."""

from dataclasses import dataclass

from app.api.answers import provenance
from app.api.models import ProvenanceOut
from app.formatting import token_words
from app.pages.feature.images import GroupView, folds_of, grouped, ranked
from app.pages.feature.readings import Reading, readings
from app.pages.feature.state import State
from app.pages.parts import FeatureView, feature_view
from app.sheet import Sheet
from app.site import OpenIndex
from scopeview.store.records import MIN_GRID_IMAGES, FeatureRecord, Name


@dataclass(frozen=True)
class IntroView:
    """What it is called, how often it fires, and its nine highest images."""

    feature: FeatureView  # its name, URL, counts and density
    record: FeatureRecord  # the figures, exact
    names: list[Name]  # best first
    token_words: str  # what its token is
    readings: list[Reading]  # its figures, explained
    grid: list[GroupView]  # the nine highest, each unlike the others where near-duplicates are folded
    provenance: ProvenanceOut


def intro(index: OpenIndex, sheet: Sheet, state: State) -> IntroView:
    slot, record = sheet.slot, sheet.record
    views = [ranked(index, slot, record, top) for top in record.top_images]
    nine = [top.image_id for top in record.top_images[:MIN_GRID_IMAGES]]
    return IntroView(
        feature=feature_view(index, record, sheet.rows, nine),
        record=record,
        names=sheet.description.names if sheet.description else [],
        token_words=token_words(slot.layer, slot.token, index.manifest.model.grid_size),
        readings=readings(sheet),
        grid=grouped(views, folds_of(sheet, state))[:MIN_GRID_IMAGES],
        provenance=provenance(index.manifest, slot.layer),
    )
