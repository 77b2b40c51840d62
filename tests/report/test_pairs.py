"""Every two systems as a matrix, and what stands beside their tests."""

from helpers import make_bundle

from benchmark import bundle, files
from benchmark.report import page, pairs


def test_the_matrix_holds_difference_interval_p_and_holm_of_every_two_systems(tmp_path):
    folder = make_bundle(tmp_path, systems={"svm": 2.0, "mlp": 1.0, "cnn": 0.0})
    rows = files.read_csv(folder / "pairwise.csv")
    header, cells = pairs.matrix(bundle.tables(folder).pairwise, ["svm", "mlp", "cnn", "majority"])
    assert header == ["System", "svm", "mlp", "cnn"] and [line[0] for line in cells] == header[1:]
    at = {(line[0], column): cell for line in cells for column, cell in zip(header, line, strict=True)}
    assert len(rows) == 3 and all(at[name, name] == "" for name in header[1:])
    for row in rows:
        one, other = row["system_a"], row["system_b"]
        effect, low, high = (f"{100 * float(row[key]):+.1f}" for key in ("effect", "lo", "hi"))
        assert at[one, other] == f"{effect} [{low}, {high}]"
        assert at[other, one] == f"p {float(row['p']):.5f}, Holm {float(row['p_holm']):.5f}"


def test_above_the_diagonal_are_differences_below_it_chances_with_several_searches_of_a_system_too(tmp_path):
    systems = {"mlp.1": 1.0, "mlp.2": 0.9, "svm.1": 2.0, "svm.2": 0.5}
    tables = bundle.tables(make_bundle(tmp_path, systems=systems))
    order = [row["system"] for row in tables.leaderboard]
    header, cells = pairs.matrix(tables.pairwise, order)
    assert header[1:] == [name for name in order if name in systems]
    for place, (_, *line) in enumerate(cells):
        assert all(cell == "" or cell.startswith("p ") for cell in line[: place + 1])
        assert all(cell == "" or cell[0] in "+-" for cell in line[place:])
    assert "sortable" not in page.table(pairs.sheets(tables.pairwise, order)[0])


def test_beside_the_tests_stand_seeds_clips_and_power(tmp_path):
    tables = bundle.tables(make_bundle(tmp_path))
    (pair,) = tables.pairwise
    _, ((one, other, crossed, clips, detectable),) = pairs.beside(tables.pairwise)
    limits = f"[{100 * pair['crossed_lo']:+.1f}, {100 * pair['crossed_hi']:+.1f}]"
    assert (one, other) == ("svm", "mlp") and crossed == f"{100 * pair['effect']:+.1f} {limits}"
    assert clips == f"{pair['mcnemar_p']:.2g}" and detectable == f"{100 * pair['min_detectable']:.1f}"


def test_without_intervals_or_pairs_there_is_no_sheet(tmp_path):
    tables = bundle.tables(make_bundle(tmp_path))
    order = ["svm", "mlp"]
    assert [sheet.folded for sheet in pairs.sheets(tables.pairwise, order)] == [False, True]
    assert pairs.sheets([], order) == [] and pairs.sheets([tables.pairwise[0] | {"lo": None}], order) == []
