"""A log that is asked for again and again: only what is new is sent, and what was sent is the log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from lepton_jupyter.outputs import Output, outputs_text
from lepton_jupyter.server.logs import part_of


def printed(text: str) -> list[Output]:
    return [{"output_type": "stream", "name": "stdout", "text": text}]


class Reader:
    """Asks as a page does."""

    def __init__(self) -> None:
        self.settled, self.digest, self.sent = b"", "", 0

    def read(self, outputs: list[Output]) -> str:
        part = part_of(outputs, len(self.settled), self.digest)
        self.sent = len(part.data)
        whole = self.settled[: part.after] + part.data
        self.settled, self.digest = whole[: part.settled], part.digest
        return whole.decode()


def test_a_log_that_grows_is_sent_once() -> None:
    reader, text = Reader(), "".join(f"epoch {n}\n" for n in range(400_000))
    assert reader.read(printed(text)) == text
    more = text + "epoch 400000\n 12 %"
    assert reader.read(printed(more)) == more
    assert reader.sent == len(more) - len(text)


def test_a_bar_that_is_drawn_over_costs_its_own_line() -> None:
    reader, text = Reader(), "begin\n" * 1000
    reader.read(printed(f"{text} 12 %"))
    assert reader.read(printed(f"{text} 13 %")) == f"{text} 13 %"
    assert reader.sent == len(" 13 %")


def test_what_is_not_so_any_more_is_sent_anew() -> None:
    reader = Reader()
    reader.read(printed("one\ntwo\n"))
    assert reader.read(printed("one\n2\nthree\n")) == "one\n2\nthree\n"
    assert reader.read([]) == ""
    assert part_of(printed("one\ntwo\n"), 4, "no digest").after == 0
    assert part_of(printed("one\ntwo\n"), 10**9, "").after == 0


@given(some.lists(some.lists(some.text(alphabet="aü\n\r\x1b[3m]\x07", max_size=12), max_size=4), max_size=8))
def test_whatever_becomes_of_a_log_who_follows_it_has_it(moments: list[list[str]]) -> None:
    reader = Reader()
    for texts in moments:
        outputs = [output for text in texts for output in printed(text)]
        assert reader.read(outputs) == outputs_text(outputs, colour=True)
