"""What needs somebody at the front end: questions, late outputs, widgets that are moved. The same here and there."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.conformance.conftest import Notebook
from tests.conformance.frontend import PATIENCE, Cell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_questions_late_outputs_and_widgets(notebook: Notebook) -> None:
    """One kernel for all of these; each leaves it as it was."""
    for check in (
        questions_are_asked_and_answered,
        a_long_answer_arrives_whole,
        a_thread_that_prints_late_stays_with_its_cell,
        a_task_that_prints_late_stays_with_its_cell,
        a_slider_moved_here_changes_the_value_there,
        a_button_and_its_binary_buffers,
        an_output_widget_captures_what_a_callback_prints,
        a_widget_closed_there_is_gone_here,
    ):
        check(notebook)


def questions_are_asked_and_answered(notebook: Notebook) -> None:
    cell = notebook.run(
        "import getpass\n"
        "name = input('name? ')\n"
        "secret = getpass.getpass('secret: ')\n"
        "print(f'{name!r} {secret!r}')\n"
        "name = input()\n"
        "name",
        answers=["Ann ü 🙂", "s3cret", ""],
    )
    assert cell.text() == "'Ann ü 🙂' 's3cret'\n"
    assert cell.outputs()[-1]["data"] == {"text/plain": "''"}
    asked = [(question["prompt"], question["password"]) for question in notebook.end.questions]
    assert asked == [("name? ", False), ("secret: ", True), ("", False)]
    assert [output["output_type"] for output in cell.outputs()] == ["stream", "execute_result"]


def a_long_answer_arrives_whole(notebook: Notebook) -> None:
    cell = notebook.run("print('before', flush=True)\nlen(input('text: '))", answers=["x" * 1_000_000])
    assert cell.text() == "before\n"
    assert cell.outputs()[-1]["data"] == {"text/plain": "1000000"}


def a_thread_that_prints_late_stays_with_its_cell(notebook: Notebook) -> None:
    cell = notebook.run(
        "import threading, sys, time\n"
        "from IPython.display import display\n"
        "def late():\n"
        "    time.sleep(0.5)\n"
        "    print('late', flush=True)\n"
        "    print('late error', file=sys.stderr, flush=True)\n"
        "    display({'text/plain': 'late display'}, raw=True)\n"
        "    print('end', flush=True)\n"
        "threading.Thread(target=late).start()\n"
        "print('cell is done')"
    )
    assert cell.text() == "cell is done\n"
    assert cell.shows("end\n") == "cell is done\nlate\nend\n"
    assert cell.text("stderr") == "late error\n"
    shown = [output["data"] for output in cell.outputs() if output["output_type"] == "display_data"]
    assert shown == [{"text/plain": "late display"}]


def a_task_that_prints_late_stays_with_its_cell(notebook: Notebook) -> None:
    first = notebook.run(
        "import asyncio\n"
        "async def late():\n"
        "    for n in range(3):\n"
        "        await asyncio.sleep(0.2)\n"
        "        print('task', n, flush=True)\n"
        "    return 'finished'\n"
        "task = asyncio.create_task(late())"
    )
    assert first.shows("task 2\n") == "task 0\ntask 1\ntask 2\n"
    second = notebook.run("await task")
    assert second.outputs()[0]["data"] == {"text/plain": "'finished'"}


def a_slider_moved_here_changes_the_value_there(notebook: Notebook) -> None:
    cell = notebook.run(
        "import ipywidgets\n"
        "slider = ipywidgets.IntSlider(3)\n"
        "def moved(change):\n"
        "    print('moved to', change['new'], flush=True)\n"
        "    label.value = f'it is {change[\"new\"]}'\n"
        "label = ipywidgets.Label('it is 3')\n"
        "slider.observe(moved, 'value')\n"
        "display(slider, label)\n"
    )
    model = _model(cell.outputs()[0])
    for value in (7, 8):
        moved = notebook.end.send_comm(model, {"value": value})
        # What the callback prints belongs to the message that caused it.
        moved.shows(f"moved to {value}\n")
        updates = _updates(notebook, moved, {"value": f"it is {value}"})
        assert {"method": "echo_update", "state": {"value": value}, "buffer_paths": []} in updates
    assert notebook.run("slider.value, label.value").outputs()[0]["data"] == {"text/plain": "(8, 'it is 8')"}
    assert cell.text() == ""


def a_button_and_its_binary_buffers(notebook: Notebook) -> None:
    cell = notebook.run(
        "from comm import create_comm\n"
        "def got(message):\n"
        "    print(message['content']['data'], [bytes(b) for b in message['buffers']], flush=True)\n"
        "    raw.send({'back': 1}, buffers=[bytes(b)[::-1] for b in message['buffers']])\n"
        "raw = create_comm(target_name='jupyter.widget', data={'state': {}}, metadata={'version': '2.1.0'})\n"
        "raw.on_msg(got)\n"
        "raw.comm_id"
    )
    comm_id = cell.outputs()[0]["data"]["text/plain"].strip("'")
    sent = notebook.end.send_comm(comm_id, {"n": 1}, b"\x00\xff", b"", b"x" * 1_000_000)
    sent.shows("[b'\\x00\\xff', b'', b'xxx")
    notebook.end.until(lambda: any(m["content"].get("data") == {"back": 1} for m in sent.messages))
    (back,) = [m for m in sent.messages if m["content"].get("data") == {"back": 1}]
    assert [bytes(buffer) for buffer in back["buffers"]] == [b"\xff\x00", b"", b"x" * 1_000_000]


def an_output_widget_captures_what_a_callback_prints(notebook: Notebook) -> None:
    cell = notebook.run(
        "out = ipywidgets.Output()\n"
        "button = ipywidgets.Button()\n"
        "@out.capture()\n"
        "def pressed(button):\n"
        "    print('captured', flush=True)\n"
        "button.on_click(pressed)\n"
        "display(button, out)\n"
    )
    button, out = _model(cell.outputs()[0]), _model(cell.outputs()[1])
    content = {"comm_id": button, "data": {"method": "custom", "content": {"event": "click"}}}
    message = notebook.end.client.session.msg("comm_msg", content)
    notebook.end.client.shell_channel.send(message)
    msg_id = message["header"]["msg_id"]
    messages = notebook.end.by_parent[msg_id]
    notebook.end.until(lambda: any(_state(m).get("msg_id") == "" for m in messages))
    # The widget names the request whose outputs it takes, and the print is among those.
    kinds = [
        (m["content"]["comm_id"], _state(m)["msg_id"]) if "msg_id" in _state(m) else m["content"].get("text")
        for m in messages
        if m["msg_type"] in ("stream", "comm_msg")
    ]
    assert kinds == [(out, msg_id), "captured\n", (out, "")]


def a_widget_closed_there_is_gone_here(notebook: Notebook) -> None:
    cell = notebook.run("slider.close()")
    assert [m["content"]["data"] for m in cell.messages if m["msg_type"] == "comm_close"] == [{}]


def test_a_front_end_that_does_not_read_for_a_while_loses_nothing(remote_notebook: Notebook) -> None:
    """A plain kernel drops what waits beyond 1000 messages; these are more than any buffer on the way takes."""
    notebook = remote_notebook
    cell = notebook.start("for n in range(5000):\n    display({'text/plain': f'{n} {\"x\" * 10_000}'}, raw=True)")
    dispatcher = notebook.place.dispatcher()
    deadline = time.monotonic() + PATIENCE
    while not any(job.state.final for job in dispatcher.store.list()):
        assert time.monotonic() < deadline, "the job never ended"
        time.sleep(0.1)
    dispatcher.close()
    assert cell.reply()["status"] == "ok"
    numbers = [int(output["data"]["text/plain"].split()[0]) for output in cell.outputs()]
    assert numbers == list(range(5000))


def _updates(notebook: Notebook, cell: Cell, last: dict[str, str]) -> list[dict[str, Any]]:
    """The updates of widgets that a message caused, up to the one with the state `last`."""

    def found() -> list[dict[str, Any]]:
        return [message["content"]["data"] for message in cell.messages if message["msg_type"] == "comm_msg"]

    notebook.end.until(lambda: any(update["state"] == last for update in found()))
    return found()


def _model(output: dict[str, dict[str, dict[str, str]]]) -> str:
    return output["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]


def _state(message: dict[str, dict[str, dict[str, dict[str, str]]]]) -> dict[str, str]:
    return message["content"].get("data", {}).get("state", {}) if message["msg_type"] == "comm_msg" else {}
