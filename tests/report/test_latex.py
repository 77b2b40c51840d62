"""The LaTeX of the tables: aligned, and compiled by a real TeX in the classes that papers use."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from helpers import make_bundle, make_corpus, make_random_split

from benchmark import files
from benchmark.report import comparison, comparison_files, formats, leaderboard

CLASSES = {
    "IEEEtran": r"\documentclass[conference]{IEEEtran}",
    "article": r"\documentclass[twocolumn]{article}\usepackage[margin=2cm]{geometry}",
    "acl": r"\documentclass[11pt]{article}\usepackage{acl}",
    # the widths, type and packages of acl.sty, which comes with no TeX
    "as acl": r"\documentclass[11pt,a4paper,twocolumn]{article}"
    r"\usepackage[margin=2.5cm,columnsep=.6cm]{geometry}\usepackage{times,xcolor,natbib,caption,hyperref}",
}
NEEDS = {"IEEEtran": "IEEEtran.cls", "article": "article.cls", "acl": "acl.sty", "as acl": "article.cls"}


def installed(name):
    """Whether TeX finds a file."""
    finder = shutil.which("kpsewhich")
    return bool(finder and subprocess.run([finder, name], capture_output=True, check=False).stdout)


def compile_tables(folder, tables, kind):
    """Compile the tables in one document of class `kind`, as a reader would paste them; return the log."""
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed: apt-get install texlive-latex-extra texlive-science")
    for name in (NEEDS[kind], "siunitx.sty", "booktabs.sty"):
        if not installed(name):
            pytest.skip(f"{name} is not installed")
    packages = re.findall(r"\\usepackage\{.*?\}", tables[0].partition("\n")[0])
    body = [CLASSES[kind], *packages, r"\begin{document}Text.", *tables, r"\end{document}"]
    (folder / "paper.tex").write_text("\n".join(body), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
    log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0 and (folder / "paper.pdf").exists(), log[-3000:]
    return log


@pytest.mark.parametrize("kind", CLASSES)
def test_every_table_of_a_bundle_compiles_and_fits(tmp_path, kind):
    classes = ("neutral", "[a] & b", r"50 % _ # $ ~ ^ { } | < > \write18{x}", "Ärger", "×−–’", *"cde")
    corpus = make_corpus(8, classes=classes)
    corpus = replace(corpus, card=replace(corpus.card, name="ravdess", title="RAVDESS & [x] 100 %"))
    clips = sorted((replace(u, id=f"u{n}") for n, u in enumerate(corpus.utterances)), key=lambda u: u.id)
    systems = {"random_forest": 1.0, "cnn@audioset": 9.0, "svm": 0.0}
    folder = make_bundle(
        tmp_path, corpus=replace(corpus, utterances=tuple(clips)), systems=systems, seal=False, folds=1
    )
    splits = files.read_json(folder / "splits.json")
    files.write_json(folder / "splits.json", splits | {"protocol": "luna-jimenez-5fold"})
    leaderboard.write(folder, pictures=False)
    tables = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.tex"))]
    assert len(tables) >= 8
    log = compile_tables(tmp_path, tables, kind)
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \((.*?)pt too wide\)", log)]
    assert max(wide, default=0) < 1, wide
    assert "multiply defined" not in log


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The LaTeX of a comparison of three bundles, in two groups, with two inflations."""
    root, corpus = tmp_path_factory.mktemp("compared"), make_corpus()
    make_bundle(root, name="a_b & c")
    make_bundle(root, name="again", systems={"svm": 1.5, "cnn@audioset": 0.5})
    make_bundle(root, name="random", corpus=corpus, split=make_random_split(corpus))
    names = ("a_b & c", "again", "random")
    found = comparison.compare(comparison.read([root / name for name in names]))
    assert len(found.groups) == len(found.inflation) == 2
    comparison_files.write(found, root / "out")
    return (root / "out/comparison.tex").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", CLASSES)
def test_a_comparison_compiles_and_fits(tmp_path, compared, kind):
    assert compared.count(r"\begin{table*}") == 3
    assert "random-80-20, 4 trials" in compared.split(r"\midrule")[2]
    log = compile_tables(tmp_path, [compared], kind)
    assert "Overfull" not in log and "multiply defined" not in log


def test_a_column_of_numbers_is_aligned_at_the_point():
    rows = [["svm", "61.2 [55.0, 67.3]", "+1.5", "9"], ["−x", "100.0", "−10.25", ""]]
    table = formats.latex(["", "UAR", "Δ", "n"], rows, "Caption")
    assert "{l S[table-format=3.1]@{ }l S[table-format=+2.2] S[table-format=1]}" in table
    assert r"svm & 61.2 & {[}55.0, 67.3] & +1.5 & 9 \\" in table
    assert r"\ensuremath{-}x & 100.0 &  & -10.25 &  \\" in table
    assert r" & \multicolumn{2}{c}{UAR} & {\ensuremath{\Delta}} & {n} \\" in table
    assert table.startswith(r"% needs in the preamble: \usepackage{booktabs,graphicx,siunitx}")


@pytest.mark.parametrize("kind", ["article", "IEEEtran"])
def test_signs_that_tex_lacks_are_told_by_their_names(tmp_path, kind):
    caveat = "≥ 100 h, β = ½, “naïve” „Ärger“ – 模型 « Đ » ± · → ∞ №"
    table = formats.latex(["System", "UAR"], [["svm", "+1.5"]], caveat)
    assert (
        r"\ensuremath{\geq} 100 h, \ensuremath{\beta}" in table and "{[}cjk unified ideograph-6a21]" in table
    )
    compile_tables(tmp_path, [table], kind)


def test_a_table_without_a_row_is_a_table_too():
    assert r"\begin{tabular}{l l}" in formats.latex(["a", "b"], [], "Caption", "A label: &")
    assert r"\label{tab:a-label}" in formats.latex(["a", "b"], [], "Caption", "A label: &")
