"""What holds of every corpus module, so that a new file is tested the moment it exists."""

from pathlib import Path

import pytest

from benchmark import registry
from benchmark.schema import SerbenchError


@pytest.mark.parametrize("name", registry.names("corpora"))
def test_a_corpus_has_card_and_scan(name, tmp_path):
    module = registry.corpus(name)
    root = None
    if name == "manifest":
        root = tmp_path / "mine.csv"
        (tmp_path / "a.wav").touch()
        (tmp_path / "b.wav").touch()
        root.write_text("path,speaker,label\na.wav,1,x\nb.wav,2,y\n")
    card = module.card(root)
    assert card.name == name
    assert len(set(card.classes)) == len(card.classes) >= 2
    assert card.licence
    assert card.title
    with pytest.raises(SerbenchError, match="absent"):
        module.scan(Path("absent"))
