"""The corpus of a bundle as Croissant 1.0 JSON-LD, which dataset search engines and loaders read. Pure.

It describes manifest.csv, which holds every clip's speaker, label and digest; no audio is in a bundle.
Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from benchmark.files import json_text

CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet",
    "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField",
    "path": "cr:path", "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex",
    "repeated": "cr:repeated", "replace": "cr:replace", "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source",
    "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
NUMBERS = {"sample_rate": "sc:Integer", "channels": "sc:Integer", "seconds": "sc:Float"}
MEANINGS = {
    "id": "name of the clip in the corpus",
    "path": "file below the corpus's folder",
    "speaker": "who speaks",
    "label": "emotion, one of the classes",
    "digest": "SHA-256 of the decoded samples",
    "sample_rate": "of the source, in Hz",
    "channels": "of the source",
    "seconds": "length of the clip",
    "flags": "what is unusual about the clip, by spaces",
    "fingerprint": "what the clip sounds like, by which near-duplicates are found",
    "status": "accepted or quarantined",
    "reason": "why it was quarantined: a code",
    "detail": "why it was quarantined: what was seen",
}


def text(corpus: Mapping[str, Any], manifest: str) -> str:
    """Return croissant.json.

    Args:
        corpus: the content of corpus.json.
        manifest: the text of manifest.csv.
    """
    content = manifest.encode()
    columns = manifest.partition("\n")[0].split(",")
    url = f"https://doi.org/{corpus['doi']}" if corpus["doi"] else ""
    classes = ", ".join(corpus["classes"])
    known: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": corpus["name"],
        "description": f"{corpus['title']}: {corpus['accepted_clips']} clips, classes {classes}; speakers, "
        "labels and digests as a study used them, without audio.",
        "license": corpus["licence"],
        "version": corpus["version"],
        "citeAs": corpus["citation"],
        "url": url,
        "distribution": [
            {
                "@type": "cr:FileObject", "@id": "manifest.csv", "name": "manifest.csv",
                "description": "A row a clip.", "contentUrl": "manifest.csv", "encodingFormat": "text/csv",
                "contentSize": f"{len(content)} B", "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet", "@id": "clips", "name": "clips", "description": "A record a clip.",
                "field": [_field(column) for column in columns],
            }
        ],
    }  # fmt: skip
    return json_text({key: value for key, value in known.items() if value != ""}, sort_keys=False)


def _field(column: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field", "@id": f"clips/{column}", "name": column,
        "description": MEANINGS.get(column, "a column of the corpus's own"),
        "dataType": NUMBERS.get(column, "sc:Text"),
        "source": {"fileObject": {"@id": "manifest.csv"}, "extract": {"column": column}},
    }  # fmt: skip
