"""Every two systems as a matrix, and what stands beside their tests."""

from helpers import make_bundle

from benchmark import bundle, files
from benchmark.report import pairs


def test_the_matrix_holds_difference_interval_p_and_holm_of_every_two_systems(tmp_path):
    folder = make_bundle(tmp_path, systems={"svm": 2.0, "mlp": 1.0, "cnn": 0.0})
    rows = files.read_csv(folder / "pairwise.csv")
    header, cells = pairs.matrix(bundle.tables(folder).pairwise)
    assert header == ["System", "svm", "mlp", "cnn"] and [line[0] for line in cells] == header[1:]
    at = {(line[0], column): cell for line in cells for column, cell in zip(header, line, strict=True)}
    assert len(rows) == 3 and all(at[name, name] == "" for name in header[1:])
    for row in rows:
        one, other = row["system_a"], row["system_b"]
        effect, low, high = (f"{100 * float(row[key]):+.1f}" for key in ("effect", "lo", "hi"))
        assert at[one, other] == f"{effect} [{low}, {high}]"
        assert at[other, one] == f"p {float(row['p']):.5f}, Holm {float(row['p_holm']):.5f}"


def test_beside_the_tests_stand_seeds_clips_and_power(tmp_path):
    tables = bundle.tables(make_bundle(tmp_path))
    (pair,) = tables.pairwise
    _, ((one, other, crossed, clips, detectable),) = pairs.beside(tables.pairwise)
    limits = f"[{100 * pair['crossed_lo']:+.1f}, {100 * pair['crossed_hi']:+.1f}]"
    assert (one, other) == ("svm", "mlp") and crossed == f"{100 * pair['effect']:+.1f} {limits}"
    assert clips == f"{pair['mcnemar_p']:.2g}" and detectable == f"{100 * pair['min_detectable']:.1f}"


def test_without_intervals_or_pairs_there_is_no_sheet(tmp_path):
    tables = bundle.tables(make_bundle(tmp_path))
    assert [sheet.folded for sheet in pairs.sheets(tables.pairwise)] == [False, True]
    assert pairs.sheets([]) == [] and pairs.sheets([tables.pairwise[0] | {"lo": None}]) == []
