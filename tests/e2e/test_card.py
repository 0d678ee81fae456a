"""Job cards in cells: what is saved of them, and buttons that work while their cell blocks the kernel."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter

from tests.conformance.frontend import Cell, FrontEnd, front_end
from tests.conformance.places import environment
from tests.fakes.notebook import LiveNotebook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

VIEW = "application/vnd.jupyter.widget-view+json"
EPOCHS = (
    "import time\n"
    "for epoch in range(4):\n"
    "    print(f'Epoch {epoch + 1}/4 loss: {1 / (epoch + 1):.3f}', flush=True)\n"
    "    time.sleep(0.4)\n"
)
#: The oldest ipykernel that a notebook's kernel may have.
OLDEST = "6.29.5"


def card_of(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """The one card among a cell's outputs, which is the first of them; what the job displayed is not marked so."""
    assert [number for number, output in enumerate(outputs) if output.get("metadata", {}).get("lepton")] == [0]
    return outputs[0]


def job_of(outputs: list[dict[str, Any]]) -> str:
    return str(card_of(outputs)["metadata"]["lepton"]["card"])


# what is saved


def test_a_picture_of_the_card_stays_above_the_outputs(notebook: LiveNotebook, tmp_path: Path) -> None:
    (tmp_path / "lepton.toml").write_text("[targets.local]\nkind = 'local'\nprice_per_hour = 36\n")
    outputs = notebook.run(f"%%lepton_train --card --name 'first <b>try</b>'\n{EPOCHS}'done'")
    assert sorted(card_of(outputs)["data"]) == ["text/html", "text/plain"]
    lines = card_of(outputs)["data"]["text/plain"].splitlines()
    assert lines[0] == f"✓ Completed: first <b>try</b>   on local, job {job_of(outputs)}"
    assert re.fullmatch(r"█{20} 100 %, 4/4 epochs?, took \d\.\d s, cost 0\.0\d", lines[1]), lines[1]
    assert re.match(r"loss 0\.25  █\S*▁$", lines[2]), lines[2]
    assert "<b>try" not in card_of(outputs)["data"]["text/html"]
    assert "<polyline" in card_of(outputs)["data"]["text/html"]
    # The job's own outputs are what they are without a card.
    assert "".join(output.get("text", "") for output in outputs).count("loss:") == 4
    assert outputs[-1]["data"] == {"text/plain": "'done'"}
    again = notebook.run(f"%lepton_card {job_of(outputs)}")
    assert [output["data"] for output in again] == [card_of(outputs)["data"]]
    page, _ = HTMLExporter().from_notebook_node(notebook.notebook)
    assert page.count('class="lepton-card"') == 2
    assert "widget-view+json" not in page
    assert "Completed" in visible_text(page)
    assert "first <b>try</b>" in visible_text(page)
    nbformat.validate(notebook.notebook)


def test_a_card_says_why_a_job_failed_and_the_traceback_stays(notebook: LiveNotebook) -> None:
    shown = notebook.failure("%%lepton_train --card\n1 / 0")
    assert "✗ Failed: 1 / 0" in shown
    assert "\nZeroDivisionError: division by zero\n" in shown
    outputs = notebook.notebook.cells[-1].outputs
    assert [output.output_type for output in outputs] == ["display_data", "error"]
    assert VIEW not in card_of(outputs)["data"]
    hosts_fault = notebook.failure("%%lepton_train --card --fresh\nimport os\nos._exit(3)")
    assert "✗ Failed" in hosts_fault


def test_a_card_of_a_job_that_never_left_says_so(notebook: LiveNotebook, tmp_path: Path) -> None:
    (tmp_path / "lepton.toml").write_text("[targets.local]\nkind = 'local'\npython = '/nowhere/python'\n")
    notebook.failure("%%lepton_train --card\n1")
    card = card_of(notebook.notebook.cells[-1].outputs)
    assert sorted(card["data"]) == ["text/html", "text/plain"]
    assert "✗ Failed: 1 " in card["data"]["text/plain"]
    assert "/nowhere/python" in card["data"]["text/plain"]


def test_clearing_the_cells_output_leaves_the_card(notebook: LiveNotebook) -> None:
    outputs = notebook.run(
        "%%lepton_train --card\n"
        "from IPython.display import clear_output\n"
        "for n in range(5):\n    print(n)\n    clear_output(wait=n % 2 == 0)\nprint('last')"
    )
    assert "✓ Completed" in card_of(outputs)["data"]["text/plain"]
    assert "".join(output.get("text", "") for output in outputs) == "last\n"


def test_the_configuration_can_make_cards_the_default(notebook: LiveNotebook, tmp_path: Path) -> None:
    assert notebook.run("%%lepton_train\nprint(1)") == [{"output_type": "stream", "name": "stdout", "text": "1\n"}]
    (tmp_path / "lepton.toml").write_text("card = true\n")
    assert "✓ Completed" in card_of(notebook.run("%%lepton_train\nprint(1)"))["data"]["text/plain"]
    assert len(notebook.run("%%lepton_train --no-card\nprint(1)")) == 1


def test_a_detached_job_has_a_live_card_and_any_cell_can_show_another(notebook: LiveNotebook, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    outputs = notebook.run(f"%%lepton_train --card --detach\n{gated(gate)}")
    assert VIEW in card_of(outputs)["data"], "the cell is over, the job is not"
    assert "as of " in card_of(outputs)["data"]["text/html"]
    other = notebook.run(f"%lepton_card {job_of(outputs)}")
    assert VIEW in card_of(other)["data"]
    assert job_of(other) == job_of(outputs)
    gate.touch()
    notebook.run(f"%lepton_attach {job_of(outputs)}")
    assert "✓ Completed" in notebook.text(f"%lepton_card {job_of(outputs)}")
    assert "UnknownJob" in notebook.failure("%lepton_card zzzz")


def visible_text(page: str) -> str:
    """What a browser shows of a page, but for scripts and styles."""

    class Reader(HTMLParser):
        inside, text = "", ""

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.inside = tag

        def handle_data(self, data: str) -> None:
            self.text += "" if self.inside in ("script", "style") else data

    reader = Reader()
    reader.feed(page)
    return reader.text


def gated(gate: Path) -> str:
    return (
        f"import os, time\nprint('begun', flush=True)\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)\n"
    )


# buttons


@pytest.fixture(scope="module")
def oldest_ipykernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the oldest ipykernel that we work with, which hears no comm message while a cell runs."""
    folder = tmp_path_factory.mktemp("ipykernel")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, f"ipykernel=={OLDEST}"], check=True, capture_output=True)
    return folder


@pytest.fixture(params=["this ipykernel", "the oldest ipykernel"])
def end(request: pytest.FixtureRequest, tmp_path: Path, repository: Path) -> Iterator[FrontEnd]:
    """A front end that sends all comm messages to the main shell, as most do."""
    path = [str(repository)]
    if request.param == "the oldest ipykernel":
        path.insert(0, str(request.getfixturevalue("oldest_ipykernel")))
    env = environment(
        LEPTON_HOME=str(tmp_path / "state"), LEPTON_CONFIG=str(tmp_path / "lepton.toml"), PYTHONPATH=":".join(path)
    )
    with front_end(tmp_path, env) as end:
        version = end.run("import ipykernel\nprint(ipykernel.__version__)").text().strip()
        assert (version == OLDEST) == (len(path) == 2)
        end.run_well("%load_ext lepton_jupyter")
        yield end


def click(end: FrontEnd, cell: Cell, label: str) -> None:
    """Click the button of the cell's card that bears `label` now."""
    end.until(lambda: label in buttons(end, cell).values())
    (model,) = [model for model, shown in buttons(end, cell).items() if shown == label]
    content = {"comm_id": model, "data": {"method": "custom", "content": {"event": "click"}}}
    end.client.shell_channel.send(end.client.session.msg("comm_msg", content))


def buttons(end: FrontEnd, cell: Cell) -> dict[str, str]:
    """The buttons that a cell has opened, by model, with their present labels. What a thread sends has any parent."""
    found: dict[str, str] = {}
    everything = [message for messages in end.by_parent.values() for message in messages]
    for message in [*cell.messages, *everything]:
        kind, content = message["msg_type"], message["content"]
        state = content.get("data", {}).get("state", {}) if kind.startswith("comm_") else {}
        opened = message in cell.messages and state.get("_model_name") == "ButtonModel"
        if opened or ("description" in state and content["comm_id"] in found and kind == "comm_msg"):
            found[content["comm_id"]] = state["description"]
        elif kind == "comm_close":
            found.pop(content["comm_id"], None)
    return found


def test_stop_interrupts_and_then_stops_for_good(end: FrontEnd) -> None:
    stubborn = (
        "import time\nprint('begun', flush=True)\nwhile True:\n    try:\n        time.sleep(600)\n"
        "    except KeyboardInterrupt:\n        print('no', flush=True)\n"
    )
    cell = end.start(f"%%lepton_train --card\n{stubborn}")
    cell.shows("begun")
    next_cell = end.start("print('next')")
    click(end, cell, "Stop")
    assert cell.shows("no") == "begun\nno\n"
    click(end, cell, "Stop for good")
    assert cell.reply()["status"] == "error"
    (card, *_) = cell.outputs()
    assert card["data"]["text/plain"].startswith("■ Cancelled: import time")
    assert VIEW not in card["data"]
    assert next_cell.reply()["status"] == "ok", "what else came meanwhile is carried out, in its turn"
    assert next_cell.text() == "next\n"


def test_stop_keeps_the_variables(end: FrontEnd) -> None:
    cell = end.start("%%lepton_train --card\nimport time\nkept = 7\nprint('begun', flush=True)\ntime.sleep(600)")
    cell.shows("begun")
    click(end, cell, "Stop")
    assert cell.reply()["status"] == "error"
    assert cell.outputs()[-1]["ename"] == "KeyboardInterrupt"
    assert "✗ Failed" in cell.outputs()[0]["data"]["text/plain"]
    assert end.run_well("%%lepton_train\nprint(kept)").text() == "7\n"


def test_detach_ends_the_cell_and_not_the_job(end: FrontEnd, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    cell = end.start(f"%%lepton_train --card\n{gated(gate)}print('late')")
    cell.shows("begun")
    click(end, cell, "Detach")
    assert cell.reply()["status"] == "ok"
    assert "detached: job" in cell.text("stderr")
    assert VIEW in cell.outputs()[0]["data"]
    assert end.run_well("print('free')").text() == "free\n"
    gate.touch()
    cell.shows("late")
    end.until(lambda: VIEW not in cell.outputs()[0]["data"])
    assert "✓ Completed" in cell.outputs()[0]["data"]["text/plain"]
    end.until(lambda: buttons(end, cell) == {})


def test_a_click_is_heard_whichever_cell_blocks(end: FrontEnd) -> None:
    first = end.run_well(
        "%%lepton_train --card --detach --kernel a\nimport time\nprint('begun', flush=True)\ntime.sleep(600)"
    )
    first.shows("begun")
    second = end.start("%%lepton_train --card --kernel b\nprint('second', flush=True)\nimport time\ntime.sleep(600)")
    second.shows("second")
    click(end, first, "Stop")
    end.until(lambda: "KeyboardInterrupt" in json.dumps(first.outputs()))
    assert not second.idle
    click(end, second, "Stop")
    assert second.reply()["status"] == "error"
    assert second.outputs()[-1]["ename"] == "KeyboardInterrupt"
