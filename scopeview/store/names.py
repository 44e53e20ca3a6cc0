"""Questions about the names of features: which of them are called so."""

import re

from scopeview.slots import Slot
from scopeview.store.gallery import NAMED
from scopeview.store.index_folder import IN_SLOT, IndexFolder, slot_values
from scopeview.store.records import NameMatch

# DuckDB's `\b` knows no letters but those of English.
_EDGE = r"(^|$|[^\pL\pN])"
_CALLED = f"""
  SELECT feature, rank, names[rank], name_scores[rank],
         rank = 1 AND regexp_matches(lower(names[1]), $whole_words) AS is_its_name
  FROM (
    SELECT feature, names, name_scores,
           list_position(list_transform(names, lambda name: contains(lower(name), $name)), true) AS rank
    FROM described.features WHERE {IN_SLOT} AND {NAMED}
  )
  WHERE rank > 0
  QUALIFY row_number() OVER (PARTITION BY is_its_name ORDER BY {{order}}) <= $limit
  ORDER BY is_its_name DESC, {{order}}
""".format(order="is_its_name AND lower(names[1]) = $name DESC, rank, name_scores[rank] DESC, feature")


class NameReader(IndexFolder):
    """The part of `IndexReader` that asks for features by name."""

    def name_matches(self, slot: Slot, words: str, *, limit: int) -> list[NameMatch]:
        """Features that have a name with these words in it, whatever their case.

        At most `limit` of those whose best name has them as whole words, exactly these words first, and then
        as many others, the better their name's rank the earlier. Within that by the name's score.
        """
        words = " ".join(words.lower().split())
        whole_words = _EDGE + re.escape(words) + _EDGE
        values = {**slot_values(slot), "name": words, "whole_words": whole_words, "limit": limit}
        return [NameMatch(*row) for row in self.sql(_CALLED, values)]
