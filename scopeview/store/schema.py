"""The tables of the database, as the SQL that creates them. `data/README.md` explains the columns."""

TABLES = """
CREATE TABLE images (
  image_id INTEGER NOT NULL, shard INTEGER NOT NULL, shard_row INTEGER NOT NULL, key VARCHAR NOT NULL,
  caption VARCHAR, source_url VARCHAR, label VARCHAR, width INTEGER NOT NULL, height INTEGER NOT NULL,
  sha256 VARCHAR NOT NULL, punsafe FLOAT, pwatermark FLOAT
);
CREATE TABLE features (
  layer VARCHAR NOT NULL, token VARCHAR NOT NULL, feature INTEGER NOT NULL,
  n_active INTEGER NOT NULL, sum DOUBLE NOT NULL, max FLOAT, histogram INTEGER[] NOT NULL,
  top_images INTEGER[] NOT NULL, top_values FLOAT[] NOT NULL, top_positions SMALLINT[]
);
CREATE TABLE codes (
  image_id INTEGER NOT NULL, layer VARCHAR NOT NULL, token VARCHAR NOT NULL, n_active INTEGER NOT NULL,
  features INTEGER[] NOT NULL, activations FLOAT[] NOT NULL, positions SMALLINT[]
);
CREATE TABLE activations (
  layer VARCHAR NOT NULL, token VARCHAR NOT NULL, feature INTEGER NOT NULL,
  activation FLOAT NOT NULL, image_id INTEGER NOT NULL, position SMALLINT
);
"""

DESCRIBED_TABLES = """
CREATE TABLE described.features (
  layer VARCHAR NOT NULL, token VARCHAR NOT NULL, feature INTEGER NOT NULL,
  names VARCHAR[] NOT NULL, name_scores FLOAT[] NOT NULL, clarity FLOAT, label_entropy FLOAT,
  selectivity FLOAT, folds TINYINT[] NOT NULL, x FLOAT, y FLOAT
);
CREATE TABLE described.places (
  layer VARCHAR NOT NULL, feature INTEGER NOT NULL, positions INTEGER[] NOT NULL, at_cls INTEGER NOT NULL,
  selectivity FLOAT
);
CREATE TABLE described.neighbors (
  layer VARCHAR NOT NULL, token VARCHAR NOT NULL, feature INTEGER NOT NULL, kind VARCHAR NOT NULL,
  other_layer VARCHAR NOT NULL, features INTEGER[] NOT NULL, scores FLOAT[] NOT NULL
);
CREATE TABLE described.words (word VARCHAR NOT NULL, embedding FLOAT[] NOT NULL);
CREATE TABLE described.means (of VARCHAR NOT NULL, mean FLOAT[] NOT NULL);
"""
"""The tables of the database of descriptions, attached as `described`."""

IMAGE_COLUMNS = "image_id, key, caption, source_url, label, width, height, punsafe"

MAX_CAPTION_CHARS = 2000
"""Longer captions are truncated for display: some data sets have whole web pages, a megabyte each."""

SHOWN_COLUMNS = IMAGE_COLUMNS.replace(
    "caption",
    f"CASE WHEN length(caption) > {MAX_CAPTION_CHARS}"
    f" THEN left(caption, {MAX_CAPTION_CHARS - 1}) || '…' ELSE caption END AS caption",
)
"""The columns of `images` for display: see `MAX_CAPTION_CHARS`. `index_api` has captions in full."""
