"""Plain progress lines: now and then, and not silent while one long trial runs."""

from benchmark import progress

ENDED = {"event": "trial_ended", "state": "COMPLETE", "system": "cnn", "score": 0.5}


def test_a_long_trial_is_heard_of_by_its_steps(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    shown = progress.StudyProgress(3)
    told = []
    for second, event in [
        (20, {"event": "step"}), (40, {"event": "step"}), (70, {"event": "step"}), (75, {"event": "step"}),
        (90, ENDED), (91, ENDED), (160, {"event": "step"}), (161, ENDED),
    ]:  # fmt: skip
        now[0] = second
        shown.event(event)
        told.append(capsys.readouterr().err.strip())
    assert told == [
        "", "", "0/3 trials and refits, 3 steps since", "", "1/3 trials and refits, best cnn 0.500", "",
        "2/3 trials and refits, best cnn 0.500, 1 step since", "3/3 trials and refits, best cnn 0.500",
    ]  # fmt: skip
