"""The tables of the database, as SQL. `data/README.md` explains the columns; this is what is executed."""

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

IMAGE_COLUMNS = "image_id, key, caption, source_url, label, width, height, punsafe"
