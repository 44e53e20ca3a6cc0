"""Image sources: a folder, WebDataset tars or Parquet files, all read as shards of samples."""

from indexer.sources.open import open_source
from indexer.sources.options import SourceOptions
from indexer.sources.sample import BadSample, Sample, Shard, Source

__all__ = ["BadSample", "Sample", "Shard", "Source", "SourceOptions", "open_source"]
