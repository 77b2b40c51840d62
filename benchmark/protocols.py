"""Pure: a named protocol over a corpus → outer folds, with validation groups inside each training part.

Built folds: speakers sorted by (gender, id), dealt snake-wise; validation groups alike from the others.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence

from benchmark.schema import Corpus, Fold, Split, UsageError, Utterance, nearest

# Test actors of RAVDESS, fold by fold, as published; the sources stand in ABOUT.
PUBLISHED: dict[str, tuple[tuple[int, ...], ...]] = {
    "luna-jimenez-5fold": (
        *((2, 5, 14, 15, 16), (3, 6, 7, 13, 18), (10, 11, 12, 19, 20), (8, 17, 21, 23, 24), (1, 4, 9, 22)),
    ),
    "emobox-6fold": (
        *((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22)),
    ),
    "serab": ((1, 4, 13, 16, 22),),
}
SERAB_VALIDATION = (
    6,
    8,
    10,
    19,
    20,
)  # its only validation group; the 14 other training actors stay in training
ACTORS = range(1, 25)
DIAGNOSTIC = "random-80-20"
NEEDED = {"speaker-5fold": 5, "loso": 3}  # speakers; with 3, every training part of loso holds 2
ABOUT = {  # name → one line for `serbench list protocols`, with the source
    "luna-jimenez-5fold": "RAVDESS, 5 folds: Luna-Jiménez et al. 2022 (MMEmotionRecognition), ResLSTM-SER",
    "emobox-6fold": "RAVDESS, 6 folds: EmoBox (arXiv 2406.07162), data/ravdess/fold_1..6",
    "serab": "RAVDESS, one split, its own validation actors: SERAB (Scheidwasser-Clow et al. 2021)",
    "speaker-5fold": "any corpus of 5 speakers or more: speakers dealt into 5 folds, balanced by gender",
    "loso": "any corpus of 3 speakers or more: leave one speaker out; descriptive below 8",
    DIAGNOSTIC: "any corpus, diagnostic: the reference study's random split by clip, 5 times, stratified",
}
NAMES = tuple(ABOUT)


def split(protocol: str, corpus: Corpus, groups: int = 3) -> Split:
    """Return the folds of `protocol`, each with `groups` validation groups (at most its speakers; serab 1).

    Raises:
        UsageError: unknown protocol, one made for another corpus, or too few speakers.
    """
    if protocol not in ABOUT:
        raise UsageError(f"unknown protocol {protocol!r}: {nearest(protocol, NAMES)}")
    if groups < 2:
        raise UsageError(f"validation groups >= 2 must hold, but got {groups}; give --inner-folds 2 or more")
    clips = sorted(corpus.utterances, key=lambda clip: clip.id)
    if protocol == DIAGNOSTIC:
        parts = deal_clips(clips, 5, seed=0)
        trains = [[clip for other in parts if other is not part for clip in other] for part in parts]
        inner = [deal_clips(train, groups, seed) for seed, train in enumerate(trains, 1)]
        folds = [_fold(*row) for row in zip(range(1, 6), parts, trains, inner, strict=True)]
        return Split(protocol, True, tuple(folds))
    everyone = _speakers(clips)
    tests = _published(protocol, corpus, everyone) if protocol in PUBLISHED else _built(protocol, everyone)
    folds = []
    for number, test in enumerate(tests, 1):
        train = [name for name in everyone if name not in test]
        held = deal(train, min(groups, len(train)))
        if protocol == "serab":
            held = [[name for name in train if int(name) in SERAB_VALIDATION]]
        parts = [[clip for clip in clips if clip.speaker in names] for names in (test, train, *held)]
        folds.append(_fold(number, parts[0], parts[1], parts[2:]))
    return Split(protocol, False, tuple(folds))


def deal(items: Iterable[str], hands: int) -> list[list[str]]:
    """Return `items` dealt snake-wise into `hands` lists: 1 2 3 3 2 1 1 2 3 …"""
    dealt: list[list[str]] = [[] for _ in range(hands)]
    for place, item in enumerate(items):
        turn, hand = divmod(place, hands)
        dealt[hand if turn % 2 == 0 else hands - 1 - hand].append(item)
    return dealt


def deal_clips(clips: Sequence[Utterance], hands: int, seed: int) -> list[list[Utterance]]:
    """Return `clips` dealt at random into `hands` lists, alike in labels; equal audio stays together."""
    same_audio: dict[str, list[Utterance]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.id):
        same_audio[clip.digest or clip.id].append(clip)
    draw = random.Random(seed)  # random() is the same in every Python, shuffle() is not promised to be
    order = sorted(same_audio.values(), key=lambda unit: (unit[0].label, draw.random()))
    return [[clip for unit in order[hand::hands] for clip in unit] for hand in range(hands)]


def _speakers(clips: Sequence[Utterance]) -> list[str]:
    gender = {clip.speaker: clip.columns.get("gender", "") for clip in clips}
    return sorted(gender, key=lambda name: (gender[name], name))


def _published(protocol: str, corpus: Corpus, everyone: Sequence[str]) -> list[list[str]]:
    if corpus.card.name != "ravdess":
        rule = f"protocol {protocol} is for ravdess only, but the corpus is {corpus.card.name}"
        raise UsageError(f"{rule}; {_cure(len(everyone))}")
    by_number = {int(name): name for name in everyone}
    if set(by_number) != set(ACTORS):
        differing = sorted(set(by_number) ^ set(ACTORS))
        rule = f"protocol {protocol} needs actors 1 to 24, but {differing} are missing or unknown"
        raise UsageError(f"{rule}; complete the corpus, or {_cure(len(everyone))}")
    return [[by_number[actor] for actor in test] for test in PUBLISHED[protocol]]


def _built(protocol: str, everyone: Sequence[str]) -> list[list[str]]:
    count, needed = len(everyone), NEEDED[protocol]
    if count < needed:
        rule = f"protocol {protocol} needs at least {needed} speakers, but got {count}"
        raise UsageError(f"{rule}; {_cure(count)}")
    return deal(everyone, 5 if protocol == "speaker-5fold" else count)


def _cure(speakers: int) -> str:
    """Return what to use instead with so many speakers: TESS has 2, SAVEE 4."""
    if speakers >= NEEDED["speaker-5fold"]:
        return "use speaker-5fold or loso"
    if speakers >= NEEDED["loso"]:
        return f"use loso, which is descriptive with {speakers}: no intervals, no ties"
    return f"add speakers, or use {DIAGNOSTIC} as a mere diagnostic"


def _fold(
    number: int, test: Sequence[Utterance], train: Sequence[Utterance], held: Sequence[Sequence[Utterance]]
) -> Fold:
    ids = [tuple(sorted(clip.id for clip in part)) for part in (test, train, *held)]
    names = [tuple(sorted({clip.speaker for clip in part})) for part in (test, train)]
    return Fold(number, ids[0], ids[1], names[0], names[1], tuple(ids[2:]))
