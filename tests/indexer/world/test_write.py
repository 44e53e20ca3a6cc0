import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.sources import Sample, open_source
from indexer.world import make_scene, mask_of, write_world
from scopeview.errors import InputError


def read(folder: Path) -> list[Sample]:
    found = [sample for shard in open_source(folder).shards for sample in shard.samples()]
    assert all(isinstance(sample, Sample) for sample in found)
    return [sample for sample in found if isinstance(sample, Sample)]


def test_a_world_is_read_back_as_a_source(tmp_path: Path) -> None:
    done: list[None] = []
    tars = write_world(tmp_path, 5, seed=3, images_per_shard=2, progress=lambda: done.append(None))
    assert [tar.name for tar in tars] == ["00000.tar", "00001.tar", "00002.tar"]
    assert len(done) == 5
    samples = read(tmp_path)
    assert [sample.key for sample in samples][-1] == "00002/000000004"
    assert [sample.caption for sample in samples] == [make_scene(3, number).caption for number in range(5)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [tar.name for tar in tars]


def test_the_image_survives_its_jpeg(tmp_path: Path) -> None:
    write_world(tmp_path, 3, seed=0)
    for number, sample in enumerate(read(tmp_path)):
        written = np.asarray(Image.open(io.BytesIO(sample.image))).astype(int)
        made = np.asarray(make_scene(0, number).image).astype(int)
        assert np.abs(written - made).mean() < 2


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(tmp_path: Path) -> None:
    first, again, other = (
        write_world(tmp_path / name, 3, seed)[0].read_bytes() for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    assert first != other


def test_the_truth_travels_with_the_image(tmp_path: Path) -> None:
    (path,) = write_world(tmp_path, 1, seed=0)
    with tarfile.open(path) as tar:
        content = tar.extractfile("000000000.json")
        assert content is not None
        about = json.load(content)
    assert about["things"] == make_scene(0, 0).truth()["things"]
    assert {"key", "caption", "background", "tint"} <= set(about)
    assert mask_of(about["things"][0]).any()


def test_a_world_of_chosen_kinds_shows_these_alone_and_an_unknown_one_writes_nothing(tmp_path: Path) -> None:
    write_world(tmp_path / "boats", 4, seed=0, kinds=["boat"])
    assert all("boat" in str(sample.caption) for sample in read(tmp_path / "boats"))
    with pytest.raises(InputError, match="no kind 'bo'"):
        write_world(tmp_path / "none", 4, seed=0, kinds=["bo"])
    assert not (tmp_path / "none").exists()
