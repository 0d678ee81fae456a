"""What may be trusted because it cannot do anything, and how much may go into a notebook."""

from __future__ import annotations

import re

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_jupyter.server.notebooks import limits
from lepton_jupyter.server.notebooks.inert import inert, inert_html
from lepton_jupyter.server.notebooks.limits import within_limits
from tests.server._bed import shown, stream

HARMLESS = [
    "plain text, 1 > 0 &amp; so on",
    "<b>bold</b><br><hr/>",
    '<div style="color: red">x</div>',
    '<a href="https://example.org/a?b=c&d=e" target="_blank">x</a>',
    '<img src="data:image/png;base64,iVBORw0KGgo=" alt="x">',
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path d="M0 0L1 1" stroke="#111" fill="none"/></svg>',
    '<pre style="white-space:pre;overflow-x:auto">Model: <span style="font-weight: bold">x</span></pre>',
    pandas.DataFrame({"a": [1, 2], "b<": ["<script>", "x"]}).to_html(),
    pandas.DataFrame({"a": [1]})._repr_html_(),
    pandas.DataFrame({"a": [1, 2]}).style.highlight_max().to_html(),
]
ACTIVE = [
    "<script>1</script>", "<SCRIPT>1</SCRIPT>", "<scr<script>ipt>", "<script", "<img src=x onerror=alert(1)>",
    "<img/src=x/onerror=alert(1)>", '<img src="x"onerror="alert(1)">', "<img src=x\nonerror=alert(1)>",
    "<svg onload=alert(1)>", "<svg><script>1</script></svg>", "<svg><animate onbegin=alert(1) attributeName=x></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>", "<math><mtext><style><img src=x onerror=alert(1)>",
    '<a href="javascript:alert(1)">x</a>', '<a href="java&#115;cript:alert(1)">x</a>', '<a href=" javascript:1">x</a>',
    '<a href="java\tscript:1">x</a>', '<a href="javascript&colon;1">x</a>', '<a href="//evil.example/x:1">x</a>',
    '<iframe srcdoc="x"></iframe>', "<object data=x>", "<embed src=x>", "<base href=x>", "<meta http-equiv=refresh>",
    "<link rel=stylesheet href=x>", "<form action=x>", "<input autofocus onfocus=alert(1)>", "<button>x</button>",
    "<!-- x --><b>", "<![CDATA[x]]>", "<?x?>", "<noscript><p title=\"</noscript><img src=x onerror=1>\">",
    "<style>@import 'x'</style>", "<style>b{background:url(x)}</style>", "<style>b{background:u\\72l(x)}</style>",
    '<div style="position:fixed;top:0">x</div>', '<div style="background:url(x)">x</div>', '<b id="app">x</b>',
    '<div data-commandlinker-command="x">x</div>', '<b is="x">', "<x-y>", "<template><b></template>", "< b>", "<b",
    "<b\0>", "<select><img src=x onerror=1></select>", "<textarea><b></textarea>", "<title><b></title>",
    "</b onclick=1>",
    '<b title="<img src=x onerror=1>">', "<b title=`x`>", "<use href=x>", '<image href="x">', "<style>&lt;</style>",
]  # fmt: skip


@pytest.mark.parametrize("html", HARMLESS)
def test_what_notebooks_mostly_show_keeps_its_trust(html: str) -> None:
    assert inert([shown("text/html", html)])
    assert inert([shown("text/html", html.splitlines(keepends=True))])


@pytest.mark.parametrize("html", ACTIVE)
def test_whatever_is_not_known_to_be_harmless_loses_its_trust(html: str) -> None:
    assert not inert_html(html)
    assert not inert_html(f"<b>x</b>{html}<b>x</b>")


@given(st.text(alphabet="<>/='\" \n!-abimgscrptonervlk:&;#", max_size=40))
def test_no_event_handler_and_no_script_passes(text: str) -> None:
    if inert_html(text):
        assert "<script" not in text.lower()
        assert "<!" not in text
        assert not re.search(r"<[^>]*[\s/'\"]on\w+\s*=", text)


@pytest.mark.parametrize(
    "output",
    [
        stream("<script>1</script>"),
        {"output_type": "error", "ename": "<script>", "evalue": "<img onerror=1>", "traceback": ["<script>1</script>"]},
        shown("image/png", "iVBORw0KGgo="),
        shown("image/svg+xml", "<svg onload='alert(1)'/>"),
        shown("text/latex", "$x < 1$"),
        shown("application/json", {"a": "<script>"}),
        shown("application/vnd.vegalite.v5+json", {}),
        shown("application/vnd.jupyter.widget-view+json", {"model_id": "x"}),
        shown("text/markdown", "# Title\n\n**bold** [x](https://example.org)"),
    ],
)
def test_text_pictures_and_data_keep_their_trust(output: dict[str, object]) -> None:
    assert inert([stream("before"), output])


@pytest.mark.parametrize(
    ("mime", "data"),
    [
        ("application/javascript", "1"),
        ("text/html", {"not": "text"}),
        ("text/markdown", "a <img src=x onerror=alert(1)>"),
        ("text/markdown", "[x](javascript:alert(1))"),
        ("text/markdown", "[x](java\\\nscript\\:alert(1))"),
        ("text/markdown", "[x](&#106;avascript:alert(1))"),
        ("application/vnd.bokehjs_exec.v0+json", ""),
        ("application/pdf", "x"),
        ("application/x-unknown", "x"),
    ],
)
def test_what_runs_and_what_is_unknown_loses_its_trust(mime: str, data: object) -> None:
    assert not inert([stream("before"), shown(mime, data)])


# how much


def test_outputs_of_common_size_are_left_as_they_are() -> None:
    outputs = [stream("x\n" * 1000), shown("image/png", "A" * 1_000_000)]
    assert within_limits(outputs, "job1") == outputs


def test_a_long_stream_keeps_its_ends_and_says_what_is_missing() -> None:
    text = "".join(f"{n:09}\n" for n in range(300_000))
    (output,) = within_limits([stream(text)], "job1")
    assert len(output["text"]) < limits.TEXT + 200
    assert output["text"].startswith("000000000\n")
    assert output["text"].endswith("000299999\n")
    assert "[lepton: 1,000,000 characters are left out here; all of it: %lepton_logs job1" in output["text"]


def test_a_huge_output_is_named_by_type_and_size() -> None:
    (output,) = within_limits([shown("text/html", "x" * (limits.ONE + 1))], "job1")
    assert list(output["data"]) == ["text/plain"]
    assert "text/html" in output["data"]["text/plain"]


def test_too_many_outputs_keep_their_ends() -> None:
    outputs = [shown("text/html", str(n)) for n in range(limits.COUNT + 500)]
    found = within_limits(outputs, "job1")
    assert len(found) == limits.COUNT + 1
    assert (found[0], found[-1]) == (outputs[0], outputs[-1])
    assert [output["text"][:38] for output in found if "text" in output] == ["[lepton: 500 outputs are left out here"]


def test_all_outputs_together_have_an_end_that_is_said() -> None:
    outputs = [shown("text/html", "x" * (limits.ONE - 1000)) for _ in range(5)]
    found = within_limits(outputs, "job1")
    assert "the last 2 outputs are left out" in found[-1]["text"]
    assert len(found) == 4
