"""An external system, labels only, on the page and in the figures."""

from helpers import make_bundle

from benchmark import external, files
from benchmark.report import leaderboard


def test_page_and_figures_show_an_external_system_that_gave_labels_alone(tmp_path):
    made = make_bundle(tmp_path)
    clips = files.read_csv(made / "manifest.csv")
    rows = [
        {"path": clip["path"], "predicted": ("calm", clip["label"])[k % 2]} for k, clip in enumerate(clips)
    ]
    files.write_csv(tmp_path / "theirs.csv", ["path", "predicted"], rows)
    external.join(made, tmp_path / "theirs.csv", "theirs", "Doe 2026", "<b>trained</b> on more")
    page = (made / "report.html").read_text()
    assert "<td>theirs (external)" in page
    assert "theirs from Doe 2026, 1 seed, &lt;b&gt;trained&lt;/b&gt; on more" in page
    assert {p.name for p in made.glob("figures/forest.*")} == {"forest.png", "forest.pdf"}
    assert not list(made.glob("figures/*theirs*"))  # no curves, no probabilities
    assert leaderboard.verify(made) == []
