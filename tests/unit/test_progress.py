"""Progress and metrics, read off what tqdm, Keras and plain loops really print."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tqdm import tqdm

from lepton_jupyter.outputs._curves import MOST_POINTS
from lepton_jupyter.outputs._readings import read_html, read_line, read_table
from lepton_jupyter.outputs.progress import Progress
from lepton_jupyter.wire import Event

BEGAN = 1_700_000_000.0


def event(seconds: float, msg_type: str, content: Any) -> Event:
    fields = {"msg_type": msg_type, "time": BEGAN + seconds}
    return Event("job", 1, "iopub", fields, (b"{}", json.dumps(content).encode()))


def printed(seconds: float, text: str, name: str = "stdout") -> Event:
    return event(seconds, "stream", {"name": name, "text": text})


def told(*events: Event) -> dict[str, Any]:
    progress = Progress()
    for one in events:
        progress.add(one)
    known = progress.telemetry()
    assert json.loads(json.dumps(known, allow_nan=False)) == known
    assert progress.telemetry() == known  # asking changes nothing
    return known


def step(line: str) -> tuple[float, float, str] | None:
    found = read_line(line).step
    return (found.done, found.total, found.unit) if found else None


class Screen(io.StringIO):
    """What a program wrote, as the events of its writes, `pace` seconds apart."""

    def __init__(self, pace: float = 0.1) -> None:
        super().__init__()
        self.events: list[Event] = []
        self._pace = pace

    def write(self, text: str) -> int:
        self.events.append(printed(len(self.events) * self._pace, text, "stderr"))
        return len(text)


# one line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (" 35%|███▌      | 7/20 [00:03<00:05,  2.33it/s]", (7, 20, "it")),
        ("epochs:  25%|##5       | 1/4 [00:00<?, ?it/s]", (1, 4, "epoch")),
        ("Epoch 3:  45%|████▌     | 45/100 [00:03<00:04, 12.3it/s, v_num=0]", (45, 100, "it")),
        ("100%|##########| 3.00k/3.00k [00:00<00:00, 4.97MB/s]", (3000, 3000, "B")),
        ("files:  10%|█         | 1/10 [00:10<01:30, 10.1s/file]", (1, 10, "file")),
        ("\x1b[1m14/20\x1b[0m \x1b[32m━━━━\x1b[0m\x1b[37m━━\x1b[0m \x1b[1m0s\x1b[0m 4ms/step", (14, 20, "step")),
        (" 20/157 [==>...........................] - ETA: 39s - loss: 2.30", (20, 157, "step")),
        ("20/20 - 0s - 9ms/step - loss: 0.2072 - mae: 0.3608", (20, 20, "step")),
        ("Epoch 3/20", (2, 20, "epoch")),
        ("Epoch [3/20], Loss: 0.4123", (3, 20, "epoch")),
        ("epoch: 3 of 20  val_loss=0.4", (3, 20, "epoch")),
        ("Epoch 0/24", (0, 24, "epoch")),
        ("Trial 3/50", (2, 50, "trial")),
        ("loss: 2.303494  [   64/60000]", (64, 60000, "")),
        ("Train Epoch: 1 [640/60000 (1%)]\tLoss: 2.299", (640, 60000, "")),
        ("Training ━━━━━━━━━━━━╸━━━━━━━ 35% 0:00:12", (35, 100, "%")),
        ("3/4 of the people said yes", None),
        ("see https://example.org/1/2 and 50 % of it", None),
        ("Epoch 30/20", None),
        ("2024/11/05 12:00:01 began", None),
        ("=== 3/4 ===", None),
    ],
)  # fmt: skip
def test_a_line_tells_how_far_it_is(line: str, expected: tuple[float, float, str] | None) -> None:
    assert step(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("loss: 0.41", {"loss": 0.41}),
        ("loss=4.1e-05", {"loss": 4.1e-05}),
        ("Loss 0.41", {"loss": 0.41}),
        ("epoch 1 train loss 0.5, validation loss 0.6", {"train_loss": 0.5, "val_loss": 0.6}),
        ("{'loss': 0.4123, 'grad_norm': 1.2, 'learning_rate': 5e-05}", {"loss": 0.4123}),
        (" Accuracy: 45.1%, Avg loss: 2.15", {"accuracy": 45.1, "loss": 2.15}),
        ("val_acc=.91 running-loss=-3", {"val_accuracy": 0.91, "loss": -3}),
        ("loss: nan - accuracy: 0.5", {"loss": None, "accuracy": 0.5}),
        ("loss: inf", {"loss": None}),
        ("lossless=3, no loss, loss of 3, weight loss: 5kg, loss: 3/4", {}),
        ("loss=0.", {}),  # a line whose end is still to come
    ],
)
def test_a_line_tells_its_metrics(line: str, expected: dict[str, float | None]) -> None:
    assert read_line(line).metrics == expected


def test_a_bar_in_html_is_read() -> None:
    text = "<div>\n<progress value='120' max='500' style='width:300px;'></progress>\n[120/500 00:30 < 01:35]</div>"
    found = read_html(text)
    assert found is not None
    assert (found.done, found.total) == (120, 500)
    assert read_html("<progress></progress>") is None


#: As the Trainer of transformers 5.24 shows it in a notebook, again and again; `%s` are rows.
TRAINER = """
    <div>
      <progress value='%d' max='12' style='width:300px; height:20px; vertical-align: middle;'></progress>
      [ 9/12 00:02 < 00:01, 2.97 it/s, Epoch 2.25/3]
    </div>
    <table border="1" class="dataframe">
  <thead>
 <tr style="text-align: left;">
      <th>Epoch</th>
      <th>Training Loss</th>
      <th>Validation Loss</th>
      <th>Accuracy</th>
    </tr>
  </thead>
  <tbody>
%s  </tbody>
</table><p>"""
ROWS = [
    "    <tr>\n" + "".join(f"      <td>{cell}</td>\n" for cell in cells.split(",")) + "    </tr>\n"
    for cells in ("1,No log,0.691892,0.633333", "2,0.500000,0.583784,0.766667", "3,0.400000,nan,0.900000")
]


def trainer(seconds: float, done: int, rows: int) -> Event:
    page = TRAINER % (done, "".join(ROWS[:rows]))
    data = {"text/plain": "<IPython.core.display.HTML object>", "text/html": page}
    return event(seconds, "update_display_data", {"data": data, "metadata": {}, "transient": {"display_id": "x"}})


def test_the_table_of_a_trainer_is_read() -> None:
    metrics = [read_line(line).metrics for line in read_table(TRAINER % (9, "".join(ROWS)))]
    assert metrics == [
        {"val_loss": 0.691892, "accuracy": 0.633333},
        {"train_loss": 0.5, "val_loss": 0.583784, "accuracy": 0.766667},
        {"train_loss": 0.4, "val_loss": None, "accuracy": 0.9},
    ]
    assert read_table(TRAINER.replace("<progress", "<p") % (9, "".join(ROWS))) == []  # it may be anybody's data
    assert read_table("<progress><table><tr><tr") == [""]
    assert read_table("<progress><table>") == []


def test_a_trainers_table_that_is_shown_again_and_again_is_one_curve() -> None:
    shown = [trainer(float(second), second // 4, min(2, second // 16)) for second in range(1, 45)]
    known = told(*shown)
    assert (known["metric"]["name"], known["metric"]["value"]) == ("val_loss", 0.5838)
    assert [value for _, value in known["metric"]["points"]] == [0.6919, 0.5838]
    assert (known["progress"]["done"], known["progress"]["total"]) == (11, 12)
    again = told(*shown, trainer(50, 1, 0), trainer(60, 2, 1))  # the next training
    assert [value for _, value in again["metric"]["points"]] == [0.6919, 0.5838, 0.6919]


def test_a_trainer_with_a_long_table_is_still_read() -> None:
    page = TRAINER % (9, ROWS[1] * 2000)
    data = {"text/plain": "", "text/html": page}
    assert len(page) > 1 << 17
    known = told(event(1, "display_data", {"data": data, "metadata": {}}))
    assert (known["progress"]["done"], known["metric"]["name"]) == (9, "val_loss")


# tqdm


def test_tqdm_in_tqdm_is_one_whole() -> None:
    screen = Screen()
    fractions = []
    for epoch in tqdm(range(4), desc="epochs", file=screen, mininterval=0):
        for _ in (batches := tqdm(range(5), desc="batches", file=screen, mininterval=0, leave=False)):
            batches.set_postfix(loss=1.0 - epoch / 10)
            fractions.append(told(*screen.events)["progress"]["fraction"])
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[10] == pytest.approx(0.5, abs=0.06)
    known = told(*screen.events)
    assert known["progress"] | {"time": 0} == {
        "fraction": 1.0, "done": 4, "total": 4, "unit": "epoch", "eta": 0.0, "time": 0,
    }  # fmt: skip
    assert known["metric"]["name"] == "loss"
    assert known["metric"]["value"] == 0.7


def test_one_bar_after_another_starts_anew() -> None:
    screen = Screen()
    for _ in tqdm(range(100), desc="download", file=screen, mininterval=0):
        if screen.events[-1].buffers[1].find(b"60/100") > 0:
            break  # left in the middle
    for count in tqdm(range(10), desc="train", file=screen, mininterval=0):
        if count == 4:
            assert told(*screen.events)["progress"]["fraction"] == 0.4


def test_a_bar_that_was_left_is_found_out_by_those_that_end() -> None:
    lines = ["Epoch 9/10"]
    lines += [f"{batch}/20 - 0s - 9ms/step - loss: 0.2" for _ in range(5) for batch in range(1, 21)]
    known = told(*(printed(second, f"{line}\n") for second, line in enumerate(lines[:-10])))
    assert known["progress"]["total"] == 20
    assert known["progress"]["fraction"] == 0.5


def test_the_widgets_of_tqdm_are_read() -> None:
    def update(seconds: float, comm: str, **state: Any) -> Event:
        return event(seconds, "comm_msg", {"comm_id": comm, "data": {"method": "update", "state": state}})

    bar = {"_model_name": "FloatProgressModel", "min": 0.0, "max": 5.0, "value": 0.0}
    picture = {"text/plain": "  0%|          | 0/5 [00:00<?, ?it/s]", "application/vnd.jupyter.widget-view+json": {}}
    known = told(
        event(0, "comm_open", {"comm_id": "a", "data": {"state": {"_model_name": "LayoutModel"}}}),
        event(0, "comm_open", {"comm_id": "b", "data": {"state": bar}}),
        event(0, "display_data", {"data": picture, "metadata": {}}),
        update(1, "b", value=1.0),
        update(1, "c", value="\u20071/5\u2007[00:01&lt;00:04,\u2007\u20071.00it/s,\u2007loss=0.5]"),
        update(2, "b", value=2.0),
        update(2, "d", value=7.0),  # a slider that is none of ours
    )
    assert known["progress"] == {
        "fraction": 0.4, "done": 2, "total": 5, "unit": "it", "eta": 3.0, "time": BEGAN + 2,
    }  # fmt: skip
    assert (known["metric"]["name"], known["metric"]["value"]) == ("loss", 0.5)


def test_text_that_is_shown_again_and_again_is_read() -> None:
    known = told(
        *(event(n, "update_display_data", {"data": {"text/plain": f"{n}/9 [00:01<00:02, 1.0it/s]"}}) for n in range(5))
    )
    assert known["progress"]["fraction"] == pytest.approx(4 / 9, abs=1e-4)


# Keras


def keras(epochs: int, batches: int, upto: int) -> list[Event]:
    """What `fit` prints, a batch a second, cut off after `upto` seconds."""
    events, seconds = [], 0.0
    for epoch in range(1, epochs + 1):
        events.append(printed(seconds, f"Epoch {epoch}/{epochs}\n"))
        for batch in range(1, batches + 1):
            seconds += 1.0
            bar = (
                "\x1b[1m{:2}/{}\x1b[0m \x1b[32m━━━\x1b[0m\x1b[37m━━━━\x1b[0m \x1b[1m0s\x1b[0m 35ms/step - loss: {:.4f}"
            )
            text = bar.format(batch, batches, 20 - epoch - batch / batches)
            last = f" - val_loss: {21 - epoch:.4f}\n" if batch == batches else ""
            events.append(printed(seconds, "\x08" * 60 + "\r" * (batch > 1) + text + last))
    return [one for one in events if one.fields["time"] <= BEGAN + upto]


def test_keras_counts_epochs_and_the_batches_in_them() -> None:
    known = told(*keras(20, 10, 65))
    progress = known["progress"]
    assert (progress["done"], progress["total"], progress["unit"]) == (6, 20, "epoch")
    assert progress["fraction"] == pytest.approx(6.5 / 20)
    assert progress["eta"] == pytest.approx(135, rel=0.1)
    assert progress["time"] == pytest.approx(BEGAN + 65)
    assert known["metric"]["name"] == "val_loss"
    assert [value for _, value in known["metric"]["points"]] == [20, 19, 18, 17, 16, 15]
    done = told(*keras(20, 10, 999))["progress"]
    assert (done["fraction"], done["done"], done["eta"]) == (1.0, 20, 0.0)


def test_an_evaluation_after_the_fit_does_not_take_progress_back_into_it() -> None:
    events = [*keras(2, 10, 999), *(printed(30 + n, f"\r{n}/40 ━━━━ 0s 4ms/step - loss: 0.1") for n in range(1, 11))]
    progress = told(*events)["progress"]
    assert (progress["done"], progress["total"], progress["unit"]) == (10, 40, "step")


# curves and times


def test_the_main_metric_is_chosen() -> None:
    assert told(printed(1, "acc: 0.5\n"))["metric"]["name"] == "accuracy"
    assert told(printed(1, "acc: 0.5 loss: 3\n"))["metric"]["name"] == "loss"
    one = [printed(n, f"loss: {n}\n") for n in range(5)] + [printed(5, "val_loss: 9\n")]
    assert told(*one)["metric"]["name"] == "loss"  # a single point is no curve
    assert told(*one, printed(6, "val_loss: 8\n"))["metric"]["points"] == [[5.0, 9.0], [6.0, 8.0]]


def test_metrics_without_a_curve_are_counted_and_the_main_one_has_one_however_late() -> None:
    many = {f"group{number}": 1.0 for number in range(300)}
    logged = [[second, None, {**many, "val_loss": 1 / second}] for second in range(1, 201)]
    metric = told(Event("job", 1, "metrics", {"time": 1.0, "logged": logged}))["metric"]
    assert (metric["name"], metric["count"], metric["others"], metric["recorded"]) == ("val_loss", 200, 300, True)
    assert 2 < len(metric["points"]) <= 60
    assert told(printed(1, "loss: 0.5 acc: 0.1\n"))["metric"]["recorded"] is False


def test_a_loss_that_is_no_number_is_said() -> None:
    metric = told(printed(1, "loss: 0.5\n"), printed(2, "loss: nan\n"))["metric"]
    assert metric.items() >= {"name": "loss", "value": None, "points": [[0.0, 0.5]], "count": 1}.items()


def test_a_long_curve_keeps_its_shape_and_both_ends() -> None:
    points = told(*(printed(n, f"loss: {1000 - n}\n") for n in range(1000)))["metric"]["points"]
    assert 20 <= len(points) <= MOST_POINTS
    assert points[0] == [0.0, 1000.0]
    assert points[-1] == [999.0, 1.0]
    assert all(value == pytest.approx(1000 - x, abs=1) for x, value in points)


def test_a_slow_first_step_is_forgotten() -> None:
    seconds = [0.0, 60.0, *(60.0 + n for n in range(1, 40))]
    progress = told(*(printed(s, f"step {n}/100 loss: 1\n") for n, s in enumerate(seconds)))["progress"]
    assert progress["eta"] == pytest.approx(60, rel=0.35)  # the mean speed would say 150


def test_followers_at_any_pace_come_to_the_same_figures() -> None:
    """Who asks every moment, and who reads the whole journal at once."""
    events, asked = keras(5, 20, 70), Progress()
    for one in events:
        asked.add(one)
        asked.telemetry()
    assert asked.telemetry() == told(*events)


def test_a_line_that_comes_in_pieces_is_one_line() -> None:
    pieces = [printed(n, text) for n, text in enumerate(["Epoch ", "3/10", " loss: ", "0.25", "\nnext"])]
    known = told(*pieces)
    assert known["progress"]["done"] == 3
    assert known["metric"]["value"] == 0.25


# floods and nonsense


def test_a_flood_of_lines_is_looked_at_only_now_and_then() -> None:
    progress = Progress()
    for number in range(100_000):
        progress.add(printed(number / 50_000, f"Epoch {number + 1}/100000 loss: {number}\n"))
    assert len(progress._recent) < 300
    known = progress.telemetry()
    assert known["progress"]["done"] == 100_000
    assert known["metric"]["value"] == 1e5  # four digits


def test_the_end_of_a_huge_output_is_read() -> None:
    assert told(printed(1, "x" * 200_000 + "\nEpoch 2/4 loss: 5\n"))["progress"]["done"] == 2


@pytest.mark.parametrize(
    "content",
    [
        [], "text", None, {}, {"name": "stdout"}, {"name": "stdout", "text": 5}, {"data": []},
        {"data": {"text/plain": {}}}, {"comm_id": "a", "data": {"state": []}},
        {"comm_id": "a", "data": {"state": {"_model_name": "x", "max": "much"}}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("msg_type", ["stream", "display_data", "update_display_data", "comm_open", "comm_msg"])
def test_messages_that_follow_no_rule_tell_nothing(msg_type: str, content: Any) -> None:
    odd = [
        event(1, msg_type, content),
        Event("job", 1, "iopub", {"msg_type": msg_type, "time": "now"}, (b"", b"\xff{")),
    ]
    assert told(*odd, printed(2, "Epoch 2/4 loss: 5\n"))["progress"]["done"] == 2


@given(some.lists(some.text(max_size=200), max_size=30))
def test_any_text_is_read_without_harm(texts: list[str]) -> None:
    known = told(*(printed(n, text) for n, text in enumerate(texts)))
    assert 0 <= known.get("progress", {"fraction": 0})["fraction"] <= 1


def test_bars_at_random_stay_within_bounds() -> None:
    dice = random.Random(5)
    progress = Progress()
    for number in range(3000):
        total = dice.choice([2, 10, 50])
        line = dice.choice(
            ["Epoch {}/{}", "{}/{} - 0s", "a: 5%|#| {}/{} [00:01<00:02, 1it/s]", "trial {} of {} loss: 1"]
        )
        progress.add(printed(number, line.format(dice.randint(0, total), total) + "\n"))
        known = progress.telemetry()["progress"]
        assert 0 <= known["fraction"] <= 1
        assert known["eta"] is None or known["eta"] >= 0
