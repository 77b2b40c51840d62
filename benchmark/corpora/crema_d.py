"""CREMA-D, audio: 7,442 clips of 91 actors, 12 sentences, 6 emotions.

Source: Cao et al. (2014), https://doi.org/10.1109/TAFFC.2014.2336244, and
https://github.com/CheyneyComputerScience/CREMA-D: names after SentenceFilenames.csv, genders after
VideoDemographics.csv. A name is `ACTOR_STATEMENT_EMOTION_LEVEL`; one sentence alone has levels. Labels are
what the actors were asked for, not what raters heard. The release itself holds pairs of one audio with two
labels and a silent clip (1076_MTI_SAD_XX): `prepare` names both.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.corpora import _release as release
from benchmark.schema import CorpusCard, Quarantined, Utterance

EMOTIONS = {
    "NEU": "neutral",
    "HAP": "happy",
    "SAD": "sad",
    "ANG": "angry",
    "FEA": "fearful",
    "DIS": "disgust",
}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
GRADED = "IEO"  # the sentence that was spoken at three levels
STATEMENTS = (GRADED, "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
ACTORS = tuple(str(number) for number in range(1001, 1092))
WOMEN = (
    "1002 1003 1004 1006 1007 1008 1009 1010 1012 1013 1018 1020 1021 1024 1025 1028 1029 1030 1037 "
    "1043 1046 1047 1049 1052 1053 1054 1055 1056 1058 1060 1061 1063 1072 1073 1074 1075 1076 1078 "
    "1079 1082 1084 1089 1091"
)
FEMALE = frozenset(WOMEN.split())
NEVER_RELEASED = frozenset(
    ["1002_TIE_NEU_XX", "1076_ITS_NEU_XX"]
    + [f"{part}_{emotion}_XX" for part in ("1008_WSI", "1009_MTI", "1019_ITH") for emotion in EMOTIONS]
)
MISNAMED = {"1040_ITH_SAD_X": "1040_ITH_SAD_XX"}  # how the release names the file → the clip in its own list
FIELDS: dict[str, tuple[str, ...]] = {  # in the order of the name
    "actor": ACTORS,
    "statement": STATEMENTS,
    "emotion": tuple(EMOTIONS),
    "level": tuple(LEVELS),
}
CARD = CorpusCard(
    name="crema_d",
    title="CREMA-D, audio only",
    classes=tuple(EMOTIONS.values()),
    citation="Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014), CREMA-D: Crowd-sourced "
    "Emotional Multimodal Actors Dataset, IEEE Transactions on Affective Computing 5(4): 377-390",
    licence="ODbL 1.0, contents DbCL 1.0",
    version="",  # the release has none
    doi="10.1109/TAFFC.2014.2336244",
    official_clips=7442,
)


def card(root: Path | None = None) -> CorpusCard:
    """Return the card, the same whatever `root` is."""
    return CARD


def scan(root: Path) -> list[Utterance | Quarantined]:
    """Return the .wav and .flac clips anywhere under `root`, sorted by id; nothing is decoded.

    Files whose names do not parse (`bad_name`) or are there twice (`doubled`) come as quarantined.

    Raises:
        SerbenchError: there is none.
    """
    none = (
        f"crema_d: .wav or .flac files such as 1001_IEO_ANG_HI.wav must be under the root, but {root} "
        "has none; give --root, the folder AudioWAV of the release"
    )
    return release.scan(root, release.audio_files(root), _identify, _utterance, none)


def official_digests() -> dict[str, str]:
    """Return each official clip with no beginning of a digest: none is known, so that any audio fits."""
    ids = (
        f"{actor}_{statement}_{emotion}_{level}"
        for actor in ACTORS
        for statement in STATEMENTS
        for emotion in EMOTIONS
        for level in (("LO", "MD", "HI") if statement == GRADED and emotion != "NEU" else ("XX",))
    )
    return dict.fromkeys((id_ for id_ in ids if id_ not in NEVER_RELEASED), "")


def _identify(file: Path) -> tuple[str, str]:
    id_ = MISNAMED.get(file.stem, file.stem)
    return id_, _problem(id_)


def _problem(id_: str) -> str:
    """Return the rule that the name breaks, or nothing."""
    if not re.fullmatch(r"[0-9]{4}_[A-Z]{3}_[A-Z]{3}_[A-Z]{2}", id_):
        return "the name must be ACTOR_STATEMENT_EMOTION_LEVEL, such as 1001_IEO_ANG_HI"
    values = dict(zip(FIELDS, id_.split("_"), strict=True))
    for field, allowed in FIELDS.items():
        if values[field] not in allowed:
            must = f"{allowed[0]} to {allowed[-1]}" if field == "actor" else ", ".join(allowed)
            return f"{field} must be one of {must}, but is {values[field]}"
    graded = values["statement"] == GRADED and values["emotion"] != "NEU"
    if graded == (values["level"] == "XX"):
        must = "LO, MD or HI" if graded else "XX"
        return f"level of {values['statement']} {values['emotion']} must be {must}, but is {values['level']}"
    return "the release has no such clip" if id_ in NEVER_RELEASED else ""


def _utterance(id_: str, path: str) -> Utterance:
    actor, statement, emotion, level = id_.split("_")
    columns = {
        "gender": "female" if actor in FEMALE else "male",
        "intensity": LEVELS[level],
        "statement": statement,
    }
    return Utterance(id_, path, actor, EMOTIONS[emotion], columns)
