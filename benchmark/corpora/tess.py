"""TESS, Toronto emotional speech set: 2,800 clips of 2 women, 200 words, 7 emotions.

Source: Pichora-Fuller & Dupuis (2020), https://doi.org/10.5683/SP2/E8H2MF. A name is `TALKER_WORD_EMOTION`:
OAF is 64 years old, YAF 26, the word one of NU-6 (Tillman & Carhart 1966), spoken in 'Say the word …'. With 2
speakers no speaker-independent protocol is possible: `random-80-20`, a diagnostic, is the one there is.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.corpora import _release as release
from benchmark.schema import CorpusCard, Quarantined, Utterance

EMOTIONS = {
    "neutral": "neutral",
    "happy": "happy",
    "sad": "sad",
    "angry": "angry",
    "fear": "fearful",
    "disgust": "disgust",
    "ps": "surprised",  # pleasant surprise
}
TALKERS = ("OAF", "YAF")
NU_6 = (
    "back bar base bath bean beg bite boat bone book bought burn cab calm came cause chain chair chalk chat "
    "check cheek chief choice cool dab date dead death deep dime dip ditch dodge dog doll door fail fall far "
    "fat fit five food gap gas gaze germ get gin goal good goose gun half hall hash hate have haze hire hit "
    "hole home hurl hush jail jar join judge jug juice keen keep keg kick kill king kite knock late laud "
    "lean learn lease lid life limb live loaf long lore lose lot love luck make match merge mess met mill "
    "mob mode mood moon mop mouse nag name near neat nice note numb pad page pain pass pearl peg perch phone "
    "pick pike pole pool puff rag raid rain raise rat reach read red ring ripe road room rose rot rough rush "
    "said sail search seize sell shack shall shawl sheep shirt should shout size soap soup sour south sub "
    "such sure take talk tape team tell thin third thought thumb time tip tire ton tool tough turn vine "
    "voice void vote wag walk wash week wheat when which whip white wife wire witch yearn yes young youth"
)
WORDS = tuple(NU_6.split())
MISNAMED = {"OA_bite_neutral": "OAF_bite_neutral"}  # how the release names the file → what is meant
FIELDS = {"talker": TALKERS, "word": WORDS, "emotion": tuple(EMOTIONS)}  # in the order of the name
CARD = CorpusCard(
    name="tess",
    title="TESS, Toronto emotional speech set",
    classes=tuple(EMOTIONS.values()),
    citation="Pichora-Fuller MK, Dupuis K (2020), Toronto emotional speech set (TESS), Borealis",
    licence="CC BY-NC-ND 4.0",
    version="1.0",
    doi="10.5683/SP2/E8H2MF",
    official_clips=2800,
)


def card(root: Path | None = None) -> CorpusCard:
    """Return the card, the same whatever `root` is."""
    return CARD


def scan(root: Path) -> list[Utterance | Quarantined]:
    """Return the .wav and .flac clips anywhere under `root`, sorted by id; nothing is decoded.

    Folders are not read: their names differ (`OAF_Pleasant_surprise`, `YAF_pleasant_surprised`).
    Files whose names do not parse (`bad_name`) or are there twice (`doubled`) come as quarantined.

    Raises:
        SerbenchError: there is none.
    """
    none = (
        f"tess: .wav or .flac files such as OAF_back_angry.wav must be under the root, but {root} has "
        "none; give --root, the folder of the release"
    )
    return release.scan(root, release.audio_files(root), _identify, _utterance, none)


def official_digests() -> dict[str, str]:
    """Return each official clip with no beginning of a digest: none is known, so that any audio fits."""
    ids = (f"{talker}_{word}_{emotion}" for talker in TALKERS for word in WORDS for emotion in EMOTIONS)
    return dict.fromkeys(ids, "")


def _identify(file: Path) -> tuple[str, str]:
    id_ = MISNAMED.get(file.stem, file.stem)
    return id_, _problem(id_)


def _problem(id_: str) -> str:
    """Return the rule that the name breaks, or nothing."""
    if not re.fullmatch(r"[A-Z]+_[a-z]+_[a-z]+", id_):
        return "the name must be TALKER_WORD_EMOTION, such as OAF_back_angry"
    for (field, allowed), value in zip(FIELDS.items(), id_.split("_"), strict=True):
        if value not in allowed:
            must = "one of the 200 of NU-6" if field == "word" else f"one of {', '.join(allowed)}"
            return f"{field} must be {must}, but is {value}"
    return ""


def _utterance(id_: str, path: str) -> Utterance:
    talker, word, emotion = id_.split("_")
    return Utterance(id_, path, talker, EMOTIONS[emotion], {"gender": "female", "word": word})
