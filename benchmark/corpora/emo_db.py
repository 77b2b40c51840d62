"""Emo-DB (Berlin): 535 clips of 10 speakers, 10 German sentences, 7 emotions.

Source: Burkhardt et al. (2005), https://doi.org/10.21437/Interspeech.2005-446, http://emodb.bilderbar.info.
A name such as 03a01Fa is speaker, sentence, first letter of the emotion in German, version. The names of the
release are those in EmoBox (data/emodb); the clips that audb adds in its version 2.0 are not among them.
"""

from __future__ import annotations

import re
from collections.abc import Container
from functools import partial
from pathlib import Path

from benchmark.corpora import _release as release
from benchmark.schema import CorpusCard, Quarantined, Utterance

EMOTIONS = {
    "N": "neutral",
    "F": "happy",  # Freude
    "T": "sad",  # Trauer
    "W": "angry",  # Wut
    "A": "fearful",  # Angst
    "E": "disgust",  # Ekel
    "L": "bored",  # Langeweile
}
SENTENCES = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
GENDER = dict.fromkeys(("03", "10", "11", "12", "15"), "male") | dict.fromkeys(
    ("08", "09", "13", "14", "16"), "female"
)
RELEASE = {  # speaker → each sentence, followed by emotion and version of every clip
    "03": "a01FaNcWa a02FcNcTaWbWc a04AdFdLcNcTaWc a05AaFcNdTcWaWb a07FaFbLaNcWc b01FaLbNbTdWaWc "
    "b02AaLaNaTbWb b03NbTcWc b09LaNcTcWa b10AbEcNaNcWbWc",
    "08": "a01AbFdLcNaWaWc a02AbAcFeLaNaTbWc a04FfLaNcTbWc a05FeLcNbTaWa a07FdLaNaTaTbWc "
    "b01AaFdFeLbNaWa b02FfLaNbTcWd b03FeLcNbTcWd b09AbFdLcNbTbWaWc b10AaFdLaNcTcWa",
    "09": "a01EaFaNbWb a02EaEbLaWb a04FdLaNbWa a05EdLcNbTbWbWc a07EbNaTaWbWd b01EaNaWb b02NaTbWcWd "
    "b03EdFaFdLbNbTaWb b09EaNdWa b10AaNdWa",
    "10": "a01AcNbWa a02AbFaLbNaWa a04FdNbWaWb a05AaLdTbWb a07AaAdLaTaWb b01AaEaFaLb b02AaLaNaWb "
    "b03LaTbWb b09AdLbWb b10FcLcWa",
    "11": "a01AaAbLdNdWc a02EcFbLdNcTcWc a04AcFdNdWc a05AdFbFcLcNaTdWd a07AcLdTaWc b01AbEbFcLbNcWd "
    "b02AbFdNaTdWb b03FcLcNbTdWaWb b09AdFdLdNaTdWa b10AdAeLdNcTdWa",
    "12": "a01FbLbNbWc a02AcEcNbWaWc a04Wc a05AbLbNdTaWb a07AcLaWa b01TaWa b02AdEaFbNaWaWbWd "
    "b03LaTa b09AcTdWc b10AcLdWa",
    "13": "a01AcEaEcFdLbNbWb a02AdEcFaLcNcTaWa a04AcFcLbTaWc a05AaEaLcNbTcWaWc a07FdLbNaTcWb "
    "b01AbEcFcLdNcWa b02FbLcNbWa b03AcEdFdLbNaTdWc b09AbEcFbFcLaNaWa b10EcFaLaNcWaWc",
    "14": "a01AaAcEaNaWaWc a02AbEaFdLaNcTbWaWc a04AaEdLbTbTcWbWc a05AaAcFaFbLbNaTaTcWaWb "
    "a07AaEbFdLcLdNaTcWc b01AcEbFaFcNaWc b02AaFbNaTcWbWd b03AdEdLbTaWb b09AcEaFcLbTdWaWc "
    "b10AdEbLbNbTcWc",
    "15": "a01EaFbLaNbWa a02AcEaLaNaTaWbWd a04AbAcFdNcWaWb a05EbFbLbNaWa a07AcEbFaFbLdNc "
    "b01EcLbNaWc b02AaLbNdTcWaWc b03AaLcNbTcWaWb b09AcFaLaNbTaWb b10AcLcNbNcWa",
    "16": "a01EcFcLbNcTbWb a02EaEcLbNbTcWb a04AbEaFaLaLcNcTcWbWc a05AbEaFcLaTbWbWc "
    "a07EaFaFbLaLbNbTdWa b01AaEbFaLaLcTbWaWb b02AaEbFdLbWb b03AdEaFaFdLaNbTaWb "
    "b09AbEbFbLaLbWb b10AaEbFbLbTbTdWaWb",
}
CARD = CorpusCard(
    name="emo_db",
    title="Emo-DB, Berlin Database of Emotional Speech",
    classes=tuple(EMOTIONS.values()),
    citation="Burkhardt F, Paeschke A, Rolfes M, Sendlmeier WF, Weiss B (2005), A database of German "
    "emotional speech, Interspeech 2005: 1517-1520",
    licence="free; CC0-1.0 as published in audb",
    version="1",
    doi="10.21437/Interspeech.2005-446",
    official_clips=535,
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
        f"emo_db: .wav or .flac files such as 03a01Fa.wav must be under the root, but {root} has none; "
        "give --root, the folder wav of the release"
    )
    return release.scan(
        root, release.audio_files(root), partial(_identify, official_digests()), _utterance, none
    )


def official_digests() -> dict[str, str]:
    """Return each official clip with no beginning of a digest: none is known, so that any audio fits."""
    return {
        f"{speaker}{word[:3]}{word[at : at + 2]}": ""
        for speaker, words in RELEASE.items()
        for word in words.split()
        for at in range(3, len(word), 2)
    }


def _identify(official: Container[str], file: Path) -> tuple[str, str]:
    unknown = "" if file.stem in official else "the release of 535 has no such clip"
    return file.stem, _problem(file.stem) or unknown


def _problem(id_: str) -> str:
    """Return the rule that the name breaks, or nothing."""
    match = re.fullmatch(r"([0-9]{2})([a-z][0-9]{2})([A-Z])[a-z]", id_)
    if not match:
        return "the name must be speaker, sentence, emotion and version, such as 03a01Fa"
    fields = {"speaker": tuple(RELEASE), "sentence": SENTENCES, "emotion": tuple(EMOTIONS)}
    for (field, allowed), value in zip(fields.items(), match.groups(), strict=True):
        if value not in allowed:
            return f"{field} must be one of {', '.join(allowed)}, but is {value}"
    return ""


def _utterance(id_: str, path: str) -> Utterance:
    speaker, sentence, emotion, version = id_[:2], id_[2:5], id_[5], id_[6]
    columns = {"gender": GENDER[speaker], "statement": sentence, "version": version}
    return Utterance(id_, path, speaker, EMOTIONS[emotion], columns)
