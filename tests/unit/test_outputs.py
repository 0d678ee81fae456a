"""Folding events into a cell's outputs, by the rules of JupyterLab; and the views that show them live."""

from __future__ import annotations

import io
import itertools
import json
import re
import sys
import threading
import time
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_jupyter.outputs import Fold, KernelView, TerminalView, fold, plain
from lepton_jupyter.wire import Event


def event(msg_type: str, content: dict[str, Any], seq: int = 1, parent: str = "job1") -> Event:
    fields = {"msg_type": msg_type, "parent": parent, "time": 0.0}
    return Event("job1", seq, "iopub", fields, (b"{}", json.dumps(content).encode()))


def stream(text: str, name: str = "stdout") -> Event:
    return event("stream", {"name": name, "text": text})


def shown(text: str, display_id: str = "", msg_type: str = "display_data") -> Event:
    transient = {"display_id": display_id} if display_id else {}
    return event(msg_type, {"data": {"text/plain": text}, "metadata": {}, "transient": transient})


def clear(wait: bool) -> Event:
    return event("clear_output", {"wait": wait})


def texts(events: list[Event]) -> list[str]:
    """One word per output: a stream's text, or the text of what is displayed."""
    return [output.get("text") or output["data"]["text/plain"] for output in fold(events)]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (["a\n", "b\n"], "a\nb\n"),
        (["10%\r", "100%"], "100%"),
        (["100%\r", "9%"], "9%0%"),  # a terminal overwrites, it does not erase
        (["one\ntwo\rTWO\n"], "one\nTWO\n"),
        (["x\r\ny\r\n"], "x\ny\n"),
        (["abc\b\bX"], "aXc"),
        (["\b\bstart"], "start"),
        (["line\n\bover"], "line\nover"),  # \b stops at the beginning of its line
        (["ab\rc", "d\n"], "cd\n"),
        (["long line\rab\nnext"], "ab" + "ng line\nnext"),
        (["\x1b[31mred\x1b[0m"], "\x1b[31mred\x1b[0m"),
    ],
)
def test_a_stream_is_written_as_on_a_terminal(written: list[str], kept: str) -> None:
    assert texts([stream(text) for text in written]) == [kept]


@given(st.text(alphabet="ab\n\r\b"), st.lists(st.integers(0, 30), max_size=6))
def test_where_a_stream_is_cut_makes_no_difference(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    assert fold([stream(piece) for piece in pieces if piece]) == fold([stream(text)] if text else [])


def test_streams_of_one_name_merge_only_beside_each_other() -> None:
    events = [stream("a"), stream("b"), stream("c", "stderr"), stream("d"), shown("picture"), stream("e")]
    assert texts(events) == ["ab", "c", "d", "picture", "e"]


def test_clear_output_clears_now_or_with_the_next_output() -> None:
    assert texts([stream("a"), clear(wait=False)]) == []
    assert texts([stream("a"), clear(wait=True)]) == ["a"]
    assert texts([stream("a"), clear(wait=True), stream("b")]) == ["b"]
    assert texts([stream("a"), clear(wait=True), shown("b"), stream("c")]) == ["b", "c"]
    assert texts([shown("a", "id"), clear(wait=True), shown("b", "id", "update_display_data")]) == ["b"]


def test_an_update_changes_every_output_of_its_id_and_adds_none() -> None:
    events = [shown("a", "x"), shown("b", "y"), shown("c", "x"), shown("new", "x", "update_display_data")]
    assert texts(events) == ["new", "b", "new"]
    assert texts([shown("a", "unknown", "update_display_data")]) == []
    assert texts([shown("a", "x"), clear(wait=False), shown("b", "x", "update_display_data"), stream("c")]) == ["c"]


def test_what_an_output_widget_takes_is_not_the_cells() -> None:
    def capture(msg_id: str) -> Event:
        return event("comm_msg", {"comm_id": "w", "data": {"method": "update", "state": {"msg_id": msg_id}}})

    events = [stream("a\n"), capture("job1"), stream("inside"), clear(wait=False), capture(""), stream("b\n")]
    assert texts(events) == ["a\nb\n"]


def test_all_kinds_make_a_valid_notebook() -> None:
    result = {"data": {"text/plain": "2"}, "metadata": {}, "execution_count": 3, "transient": {}}
    error = {"ename": "E", "evalue": "v", "traceback": ["E: v"]}
    outputs = fold([stream("a"), shown("b", "x"), event("execute_result", result), event("error", error)])
    cell = nbformat.v4.new_code_cell("x", outputs=[nbformat.from_dict(output) for output in outputs])
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))
    assert [output["output_type"] for output in outputs] == ["stream", "display_data", "execute_result", "error"]


def test_outputs_are_copies() -> None:
    folded = Fold()
    folded.add(shown("a", "x"))
    taken = folded.outputs()
    folded.add(shown("b", "x", "update_display_data"))
    assert taken[0]["data"] == {"text/plain": "a"}


class Session:
    """Takes what a view publishes, as ipykernel's session does."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

    def send(self, socket: Any, msg_type: str, content: bytes, parent: dict[str, Any], **rest: Any) -> None:
        self.sent.append((msg_type, json.loads(content), parent))


class Kernel:
    """As much of an ipykernel as a view touches."""

    def __init__(self) -> None:
        self.session, self.iopub_socket = Session(), None
        self.shell = type("Shell", (), {"displayhook": type("Hook", (), {"prompt_count": 7})})
        self.comm_manager = type("Manager", (), {"comms": {}})


PARENT = {"header": {"msg_id": "cell-request"}}


def published(kernel: Kernel) -> list[dict[str, Any]]:
    """What the cell shows after all that was published."""
    folded = Fold()
    for msg_type, content, _ in kernel.session.sent:
        folded.add_message(msg_type, content)
    return folded.outputs()


def test_a_notice_disappears_without_a_trace() -> None:
    kernel = Kernel()
    view = KernelView(kernel, PARENT, lambda *_: None)
    events = [
        stream("1\n"),
        shown("bar", "x"),
        stream("2\n"),
        shown("bar 50%", "x", "update_display_data"),
        stream("3\n"),
    ]
    for number, one in enumerate(events):
        view.show(one)
        if number in (0, 2, 3):
            view.notice(f"no connection <{number}>")
            assert "no connection" in json.dumps(published(kernel))
            view.notice(f"no connection, {number} s")
            assert json.dumps(published(kernel)).count("no connection") == 2  # as text and as html, once each
    view.notice("")
    assert published(kernel) == fold(events)
    assert {parent["header"]["msg_id"] for _, _, parent in kernel.session.sent} == {"cell-request"}


def test_a_notice_is_gone_when_the_job_ends_and_html_is_escaped() -> None:
    kernel = Kernel()
    view = KernelView(kernel, PARENT, lambda *_: None)
    view.notice("<script>alert(1)</script>")
    assert "<script>" not in kernel.session.sent[-1][1]["data"]["text/html"]
    view.show(Event("job1", 1, "state", {"state": "COMPLETED", "time": 0.0}))
    assert published(kernel) == []


def test_a_result_gets_the_number_of_the_cell_that_shows_it() -> None:
    kernel = Kernel()
    view = KernelView(kernel, PARENT, lambda *_: None)
    view.show(event("execute_result", {"data": {}, "metadata": {}, "execution_count": 2}))
    assert kernel.session.sent[0][1]["execution_count"] == 7


def test_a_widget_has_a_twin_here_that_forwards_both_ways() -> None:
    kernel, sent = Kernel(), []
    view = KernelView(kernel, PARENT, lambda *args: sent.append(args))
    view.show(event("comm_open", {"comm_id": "w", "target_name": "jupyter.widget", "data": {"state": {}}}))
    assert kernel.comm_manager.comms["w"].target_name == "jupyter.widget"
    message = {
        "header": {"msg_id": "front-1"}, "metadata": {}, "buffers": [memoryview(b"raw")],
        "content": {"comm_id": "w", "data": {"method": "update", "state": {"value": 3}}},
    }  # fmt: skip
    kernel.comm_manager.comms["w"].handle_msg(message)
    assert sent[0][:2] == ("comm_msg", "front-1")
    assert json.loads(sent[0][3])["data"]["state"] == {"value": 3}
    assert sent[0][4] == b"raw"
    # What the message causes belongs to the message, as the front end expects.
    view.show(event("stream", {"name": "stdout", "text": "changed"}, parent="front-1"))
    assert kernel.session.sent[-1][2] is message
    view.show(event("comm_close", {"comm_id": "w", "data": {}}))
    assert "w" not in kernel.comm_manager.comms


def test_an_output_widget_is_told_the_request_of_the_local_cell() -> None:
    kernel = Kernel()
    view = KernelView(kernel, PARENT, lambda *_: None)
    view.show(event("comm_msg", {"comm_id": "w", "data": {"method": "update", "state": {"msg_id": "job1"}}}))
    assert kernel.session.sent[0][1]["data"]["state"]["msg_id"] == "cell-request"
    view.notice("no connection")  # would go into the widget, so it is not shown
    assert len(kernel.session.sent) == 1


def test_a_terminal_gets_streams_results_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    view = TerminalView("job1")
    error = {"ename": "E", "evalue": "v", "traceback": ["Traceback", "E: v"]}
    for one in [stream("out\n"), stream("err\n", "stderr"), shown("42"), event("error", error)]:
        view.show(one)
    out, err = capsys.readouterr()
    assert out == "out\n42\n"
    assert err == "err\nTraceback\nE: v\n"


def test_a_terminal_that_is_left_is_written_to_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            begun.set()
            time.sleep(0.2)
            return super().write(text)

    begun, terminal, view = threading.Event(), Slow(), TerminalView("job1")
    monkeypatch.setattr(sys, "stdout", terminal)
    writer = threading.Thread(target=lambda: [view.show(stream(f"{number}\n")) for number in range(3)])
    writer.start()
    begun.wait()
    view.close()
    written = terminal.getvalue()  # Python may end now: nobody is writing
    writer.join()
    assert terminal.getvalue() == written == "0\n"


def test_what_has_no_text_is_named_by_type_and_size() -> None:
    assert plain({"text/plain": ["a", "b"]}) == "ab"
    assert re.fullmatch(r"<image/png, \d+ characters>", plain({"image/png": "iVBO"}))


def card(text: str) -> dict[str, Any]:
    return {"data": {"text/plain": text}, "metadata": {}, "transient": {"display_id": "card"}}


@pytest.mark.parametrize(
    ("events", "kept"),
    [
        ([], []),
        ([stream("a"), clear(wait=False)], []),
        ([stream("a"), clear(wait=False), stream("b")], ["b"]),
        ([stream("a"), clear(wait=True)], ["a"]),
        ([stream("a"), clear(wait=True), clear(wait=True), stream("b"), shown("c")], ["b", "c"]),
        ([shown("a", "x"), clear(wait=True), shown("b", "x", "update_display_data")], ["b"]),
        ([clear(wait=True), event("error", {"ename": "E", "evalue": "v", "traceback": ["E: v"]})], ["E: v"]),
    ],
)
def test_what_stands_above_the_outputs_outlasts_their_clearing(events: list[Event], kept: list[str]) -> None:
    kernel, drawn = Kernel(), ["first"]
    view = KernelView(kernel, PARENT, lambda *_: None, above=lambda: card(drawn[-1]))
    assert shown_texts(kernel) == ["first"]
    for number, one in enumerate(events):
        view.show(one)
        drawn.append(f"drawing {number}")
        view.redraw_above()
        assert shown_texts(kernel)[0] == drawn[-1]
    assert shown_texts(kernel)[1:] == kept
    view.notice("no connection")
    view.notice("")
    assert shown_texts(kernel) == [drawn[-1], *kept]


def test_what_stands_above_is_not_drawn_into_an_output_widget() -> None:
    kernel = Kernel()
    view = KernelView(kernel, PARENT, lambda *_: None, above=lambda: card("card"))

    def capture(msg_id: str) -> Event:
        return event("comm_msg", {"comm_id": "w", "data": {"method": "update", "state": {"msg_id": msg_id}}})

    for one in [capture("job1"), clear(wait=False), clear(wait=True), stream("inside"), capture("")]:
        view.show(one)
    assert [kind for kind, *_ in kernel.session.sent].count("display_data") == 1


def shown_texts(kernel: Kernel) -> list[str]:
    """One word per output that the cell shows."""
    return [
        output.get("text") or "".join(output.get("traceback", [])) or output["data"]["text/plain"]
        for output in published(kernel)
    ]
