"""report.html: one file, whole without scripts, asks for nothing, usable by everyone; in a real Chromium."""

import base64
import csv
import gzip
import io
import os
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from browser import CONTRAST, Reader
from helpers import make_bundle, make_corpus

from benchmark import bundle, files
from benchmark.report import evidence, leaderboard, page

HOSTILE = ("=cmd", "<script>alert(1)</script>", "\"onerror=alert(2) '&amp;|$x_1$")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sealed bundle with hostile names, published numbers, figures and page."""
    corpus = make_corpus(8, classes=HOSTILE)
    corpus = replace(corpus, card=replace(corpus.card, name="ravdess", title=" ".join(HOSTILE)))
    clips = sorted((replace(u, id=f"u{n}") for n, u in enumerate(corpus.utterances)), key=lambda u: u.id)
    corpus = replace(corpus, utterances=tuple(clips))
    folder = make_bundle(tmp_path_factory.mktemp("page"), corpus=corpus, seal=False, name="made")
    splits = files.read_json(folder / "splits.json")
    files.write_json(folder / "splits.json", splits | {"protocol": "luna-jimenez-5fold"})
    leaderboard.write(folder)
    return folder


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_it_asks_for_nothing(text):
    for tag, attributes in Reader(text).tags:
        for name in ("src", "href", "action", "srcset", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    assert "default-src 'none'" in text and "url(" not in text and "@import" not in text
    assert len(text.encode()) < 3_000_000


def test_tables_are_complete_without_scripts(folder, text):
    rows = Reader(text).rows
    shown = [[r[1], r[3].partition(" ")[0]] for r in rows if len(r) > 3]
    for row in leaderboard.read(folder):
        assert [row["system"], f"{100 * row['uar']:.1f}"] in shown
    (pair,) = files.read_csv(folder / "pairwise.csv")
    chances = (f"{name} {float(pair[key]):.5f}" for name, key in (("p", "p"), ("Holm", "p_holm")))
    assert [pair["system_b"], ", ".join(chances), ""] in rows  # below the matrix's diagonal
    assert next(r for r in rows if r[0] == "wav2vec2-xlsr fine-tuned")[2] == "81.8"
    trials = [r for r in rows if len(r) == 9 and r[0] in ("svm", "mlp")]
    assert len(trials) == 2 * 2 * (4 + 4) and ["svm", "1", "tpe", "2", "pruned"] in [r[:5] for r in trials]
    assert sum("selected" in r[4] for r in trials) == 4 and trials[0][8] == "C=1"
    for name in HOSTILE:
        assert any(name in row for row in rows)


def test_names_cannot_break_out(text):
    assert text.count("<script>") == 1 and text.count("</script>") == 1
    events = [a for _, attributes in Reader(text).tags for a in attributes if a.startswith("on")]
    assert events == []


def test_every_figure_has_words_and_its_data(folder, text):
    reader = Reader(text)
    images = [a for tag, a in reader.tags if tag == "img"]
    assert len(images) == len(list(folder.glob("figures/*.png"))) >= 9
    assert all(len(a["alt"]) > 60 and a["src"].startswith("data:image/png;base64,") for a in images)
    links = [a for tag, a in reader.tags if a.get("class") == "data"]
    assert len(links) == len(images)
    for link in links:
        head, _, data = link["href"].partition(",")
        rows = list(csv.DictReader(io.StringIO(unquote(data))))
        assert head == "data:text/csv;charset=utf-8" and rows and link["download"].endswith(".csv")


def test_many_rows_are_compressed():
    picture = page.Picture("a", "A", "what it shows", b"", [{"x": n, "y": n / 3} for n in range(2000)])
    (link,) = (attributes for _, attributes in Reader(page._data(picture)).tags)
    head, _, data = link["href"].partition(",")
    assert head == "data:application/gzip;base64" and link["download"] == "a.csv.gz" and len(data) < 20_000
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(base64.b64decode(data)).decode())))
    assert len(rows) == 2000 and rows[1] == {"x": "1", "y": "0.333333"}
    assert page._data(picture) == page._data(picture)


def test_figures_without_room_are_told_in_words_and_linked(folder, text, monkeypatch):
    shown = [page.Picture(n, n, f"what {n} shows", b"\x89PNG" + bytes(3000), [{"a": 1}]) for n in "abc"]
    monkeypatch.setattr(page, "FIGURES", 10_000)
    first, second, third = page._figures(shown)
    assert "<img" in first and "<img" in second
    assert "<img" not in third and "what c shows" in third and 'href="figures/c.png"' in third
    assert 'download="c.csv"' in third


def test_bibtex_and_latex_stand_ready(folder, text):
    assert "@misc{serbench," in text and "@misc{ravdess," in text
    tex = (folder / "leaderboard.tex").read_text()
    assert tex.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in text


def test_trials_fill_the_room_that_is_left(folder, monkeypatch):
    known = evidence.read(folder, bundle.tables(folder))
    assert page._trials(known, 10**6).count("<tr>") == 33
    assert "room for" not in page._trials(known, 10**6)
    few = page._trials(known, 5000)
    assert 1 < few.count("<tr>") < 33 and len(few.encode()) < 5000
    assert f"The page has room for {few.count('<tr>') - 1} of 32." in few


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [380, 1280])
def test_it_fits_and_can_be_read(browser, folder, width, dark):
    browser.open(folder / "report.html", width=width, dark=dark)
    assert browser.run("innerWidth") == width
    assert browser.run("document.documentElement.scrollWidth") <= width
    browser.run("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert browser.run("document.documentElement.scrollWidth") <= width
    ink = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (ink == "rgb(20, 23, 26)") is dark
    assert browser.run(CONTRAST) == []
    assert browser.run("[...document.images].every((i) => { i.loading = 'eager'; return i.width > 200; })")


def test_the_console_is_silent_and_nothing_is_fetched(browser, folder):
    browser.open(folder / "report.html")
    assert browser.errors == []
    assert {url.partition(":")[0] for url in browser.requests} <= {"file", "data"}
    assert all(u.startswith("data:") or u.endswith("report.html") for u in browser.requests)


def test_a_table_is_sorted_by_a_click_and_by_the_keyboard(browser, folder):
    browser.open(folder / "report.html")
    table = "document.querySelector('#results table')"
    column = f"[...{table}.tBodies[0].rows].map((r) => r.cells[3].textContent)"
    before = browser.run(column)
    browser.run(f"{table}.tHead.rows[0].cells[3].querySelector('button').click()")
    up = browser.run(column)
    assert [float(cell.split()[0]) for cell in up] == sorted(float(cell.split()[0]) for cell in before)
    browser.run(f"{table}.tHead.rows[0].cells[3].querySelector('button').focus()")
    browser.press("Enter")
    assert browser.run(column) == up[::-1]
    assert browser.run(f"{table}.tHead.rows[0].cells[3].getAttribute('aria-sort')") == "descending"
    browser.run(f"{table}.tHead.rows[0].cells[0].querySelector('button').click()")
    ranks = browser.run(f"[...{table}.tBodies[0].rows].map((r) => r.cells[0].textContent)")
    assert ranks == ["1", "2", "", "", ""]  # empty cells stay last


def test_trials_are_filtered(browser, folder):
    browser.open(folder / "report.html")
    assert browser.run("document.querySelector('#filters output').textContent") == "32 of 32 trials"
    browser.run("""(() => { const [system, , , state] = document.querySelectorAll('#filters select');
        system.value = 'svm'; state.value = 'pruned';
        state.dispatchEvent(new Event('input', { bubbles: true })); })()""")
    visible = "[...document.querySelectorAll('#trials tbody tr')].filter((r) => !r.hidden)"
    assert (
        browser.run(f"{visible}.map((r) => r.cells[0].textContent + r.cells[4].textContent)")
        == ["svmpruned"] * 2
    )
    browser.run("""(() => { const field = document.querySelector('#filters input'); field.value = 'nothing';
        field.dispatchEvent(new Event('input', { bubbles: true })); })()""")
    assert browser.run(f"{visible}.length") == 0


def test_every_control_is_reached_by_the_keyboard(browser, folder):
    browser.open(folder / "report.html")
    reached = set()
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    for _ in range(400):
        name = browser.run("(e => e.tagName + ' ' + e.innerText)(document.activeElement)")
        reached.add(name)
        browser.press("Tab")
        if browser.run("document.activeElement === document.body"):
            break
    controls = browser.run(
        "[...document.querySelectorAll('a, button, select, input, summary')].map((e) => e.tagName)"
    )
    assert {name.split()[0] for name in reached} >= set(controls) | {"DIV", "PRE"}


def test_it_is_whole_without_scripts_and_in_print(browser, folder):
    browser.open(folder / "report.html", scripts=False)
    document = browser.call("DOM.getDocument", depth=0)["root"]["nodeId"]
    found = browser.call("DOM.querySelectorAll", nodeId=document, selector="#trials tbody tr")
    assert len(found["nodeIds"]) == 32
    scripted = "#filters:not([hidden]), th button, .copy:not([hidden])"
    assert browser.call("DOM.querySelectorAll", nodeId=document, selector=scripted)["nodeIds"] == []
    printed = browser.pdf()
    assert printed.startswith(b"%PDF") and 2 <= len(re.findall(rb"/Type /Page\b", printed)) <= 30


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(browser, folder, dark):
    path = os.environ.get("SERBENCH_AXE", "")
    if not path:
        pytest.skip("SERBENCH_AXE names no axe.min.js: npm pack axe-core")
    browser.open(folder / "report.html", dark=dark, width=380 if dark else 1280)
    browser.run(Path(path).read_text(encoding="utf-8") + "; 0")
    told = "(v) => v.id + ': ' + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 90))"
    assert browser.run(f"axe.run().then((found) => found.violations.map({told}))") == []
