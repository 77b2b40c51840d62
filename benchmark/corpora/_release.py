"""What corpora with a release of their own share: audio files under a root, each clip known by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from benchmark.schema import Quarantined, SerbenchError, Utterance

SUFFIXES = (".flac", ".wav")


def audio_files(root: Path) -> list[Path]:
    """Return the audio files under `root`, sorted, but for hidden ones and those in hidden folders."""
    found = (file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    return sorted(f for f in found if not any(part.startswith(".") for part in f.relative_to(root).parts))


def scan(
    root: Path,
    files: Iterable[Path],
    identify: Callable[[Path], tuple[str, str]],
    utterance: Callable[[str, str], Utterance],
    none: str,
) -> list[Utterance | Quarantined]:
    """Return the clips sorted by id, then what was refused: `bad_name`, or `doubled` where an id comes again.

    Args:
        files: below `root`.
        identify: a file → the clip's id and the rule that its name breaks, or "".
        utterance: id and path below `root` → the clip.
        none: what to say where there are no files at all.

    Raises:
        SerbenchError: there are none.
    """
    clips: dict[str, Utterance] = {}
    refused = []
    for file in files:
        path, (id_, problem) = file.relative_to(root).as_posix(), identify(file)
        if problem:
            refused.append(Quarantined(path, "bad_name", problem))
        elif id_ in clips:
            refused.append(Quarantined(path, "doubled", f"the same clip as {clips[id_].path}"))
        else:
            clips[id_] = utterance(id_, path)
    if not clips and not refused:
        raise SerbenchError(none)
    return [*(clips[id_] for id_ in sorted(clips)), *refused]
