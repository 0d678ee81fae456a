"""The line that says a link is lost is taken away without a trace, whatever the cell shows at that moment."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lepton_jupyter.outputs import Fold

Content = tuple[str, dict[str, Any]]

TEXT = st.text(alphabet="ab\r\n\b", max_size=6)
STREAM = st.tuples(
    st.just("stream"), st.fixed_dictionaries({"name": st.sampled_from(["stdout", "stderr"]), "text": TEXT})
)
TRANSIENT = st.sampled_from([{}, {"display_id": "x"}, {"display_id": "y"}])


def shown(kind: str) -> st.SearchStrategy[Content]:
    data = st.fixed_dictionaries({"text/plain": st.text(alphabet="pqr", max_size=2)})
    content = st.fixed_dictionaries({"data": data, "metadata": st.just({}), "transient": TRANSIENT})
    return st.tuples(st.just(kind), content)


CLEAR = st.tuples(st.just("clear_output"), st.fixed_dictionaries({"wait": st.booleans()}))
MESSAGES = st.lists(st.one_of(STREAM, shown("display_data"), shown("update_display_data"), CLEAR), max_size=12)


@given(before=MESSAGES, after=MESSAGES)
def test_what_is_shown_again_goes_on_as_if_it_had_never_gone(before: list[Content], after: list[Content]) -> None:
    undisturbed, again = Fold(), Fold()
    for kind, content in before:
        undisturbed.add_message(kind, content)
    for kind, content in undisturbed.messages():
        again.add_message(kind, content)
    assert again.outputs() == undisturbed.outputs()
    for kind, content in after:
        undisturbed.add_message(kind, content)
        again.add_message(kind, content)
    assert again.outputs() == undisturbed.outputs()
