"""What is said before a cell runs where something is missing or differs."""

from __future__ import annotations

from typing import Any

import pytest

from lepton_jupyter.data.environment import Facts, Remark, asked, imports, in_one_line, preflight

HERE = Facts(
    python="3.11.7", packages={"numpy": "2.4.6", "torch": "2.13.0+cpu"}, modules={"numpy": True, "torch": True}
)
H100 = "NVIDIA H100 80GB HBM3"
GPU = {"gpus": [H100] * 4, "driver": "535.104.05"}


def there(**known: Any) -> Facts:
    """A host that is like this side but for what is `known`."""
    return Facts.parse({"python": "3.11.2", "packages": dict(HERE.packages), "disk": 1 << 40, **known})


def remarks(host: Facts, *modules: str, **options: Any) -> list[Remark]:
    return preflight(options.pop("here", HERE), host, modules, host="gpu1", **options)


def only(found: list[Remark]) -> Remark:
    assert len(found) == 1, found
    return found[0]


def test_where_all_is_well_nothing_is_said() -> None:
    assert remarks(there(modules={"numpy": True, "torch": True}), "numpy", "torch", "json", "os.path") == []
    assert remarks(there()) == []


class TestMissing:
    def test_all_at_once_with_the_command_that_cures_it(self) -> None:
        host = there(modules={"numpy": False, "cv2": False, "torch": True}, executable="/opt/py/bin/python")
        remark = only(remarks(host, "numpy.linalg", "cv2", "torch"))
        assert remark.fatal
        assert remark.words == "cv2, numpy are not installed on gpu1"
        assert "/opt/py/bin/python -m pip install opencv-python numpy==2.4.6" in remark.cure
        assert "--env auto" in remark.cure

    def test_what_is_no_package_here_is_left_to_python(self) -> None:
        """An earlier cell may have made it there, and its own error says more."""
        assert remarks(there(modules={"no_such_module": False}), "no_such_module") == []

    def test_what_was_not_asked_is_not_missed(self) -> None:
        assert remarks(there(), "numpy") == []

    def test_the_users_own_modules_travel(self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "my_own_module.py").write_text("")
        monkeypatch.syspath_prepend(str(tmp_path))
        here = Facts.here(["my_own_module"])
        assert here.modules == {"my_own_module": True}
        assert remarks(there(modules={"my_own_module": False}), "my_own_module", here=here) == []

    @pytest.mark.parametrize(
        "code",
        [
            "try:\n    import tqdm\nexcept ImportError:\n    tqdm = None",
            "try:\n    import tqdm\nexcept (ValueError, ModuleNotFoundError):\n    from x import tqdm",
            "if verbose:\n    import tqdm",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tqdm",
        ],
    )
    def test_what_a_cell_can_do_without(self, code: str) -> None:
        host = there(modules={"tqdm": False})
        assert remarks(host, "tqdm", code=code) == []
        assert only(remarks(host, "tqdm", code=f"{code}\nimport tqdm")).fatal

    def test_a_cell_that_installs_is_not_stopped(self) -> None:
        remark = only(remarks(there(modules={"tqdm": False}), "tqdm", code="%pip install -q tqdm\nimport tqdm"))
        assert not remark.fatal


class TestVersions:
    def test_major_and_minor_are_told(self) -> None:
        host = there(python="3.9.2", packages={"numpy": "1.26.4", "torch": "2.13.1+cu130"})
        remark = only(remarks(host, "numpy", "torch"))
        assert not remark.fatal
        assert remark.words == "Python 3.9.2 there, 3.11.7 here, numpy 1.26.4 there, 2.4.6 here"
        assert in_one_line([remark]) == remark.words

    def test_of_what_the_cell_does_not_use_nothing_is_said(self) -> None:
        assert remarks(there(packages={"numpy": "1.26.4"}), "torch") == []

    def test_strange_versions_are_no_trouble(self) -> None:
        assert remarks(there(python="", packages={"numpy": "unknown"}), "numpy") != []
        assert remarks(there(python="3.11", packages={"numpy": ""}), "numpy") == []


class TestAccelerators:
    def test_a_driver_too_old_for_the_build(self) -> None:
        host = there(torch={"version": "2.13.0", "cuda": "13.0"}, **GPU)
        remark = only(remarks(host, "torch"))
        assert "built for CUDA 13.0, which needs driver 580 or newer; gpu1 has 535.104.05" in remark.words
        assert not remark.fatal
        assert only(remarks(host, "torch", gpus=1)).fatal
        assert only(remarks(host, "torchvision", code="model.to('cuda')")).fatal
        assert remarks(host, "numpy") == []

    @pytest.mark.parametrize(
        ("cuda", "driver", "fits"),
        [
            ("13.0", "580.65.06", True), ("13.1", "575.57.08", False), ("12.8", "525.60.13", True),
            ("12.1", "525.60.12", False), ("11.8", "450.80.02", True), ("11.8", "440.33.01", False),
            ("10.2", "440.33.01", True), ("10.1", "418.38", False), ("9.0", "384.81", True), ("99.1", "1.0", True),
            ("12.6", "", True), ("", "535.1", True), ("12.4", "unknown", True),
        ],
    )  # fmt: skip
    def test_the_oldest_drivers(self, cuda: str, driver: str, fits: bool) -> None:
        host = there(torch={"version": "2", "cuda": cuda}, gpus=[H100], driver=driver)
        assert (remarks(host, "torch") == []) == fits

    def test_a_build_without_cuda_where_there_is_a_gpu(self) -> None:
        host = there(torch={"version": "2.13.0+cpu"}, tensorflow={"version": "2.21.0"}, **GPU)
        torch, tensorflow = remarks(host, "torch", "tensorflow", gpus=2)
        assert torch.words == f"PyTorch 2.13.0+cpu on gpu1 is built without CUDA: it can't use 4 × {H100}"
        assert torch.fatal
        assert tensorflow.words.startswith("TensorFlow 2.21.0 on gpu1 is built without CUDA")

    def test_more_gpus_than_there_are(self) -> None:
        assert (
            only(remarks(there(), gpus=1)).words == "the cell asks for 1 GPU, gpu1 has none that NVIDIA's driver knows"
        )
        assert "asks for 8 GPUs, gpu1 has 4" in only(remarks(there(**GPU), gpus=8)).words
        assert remarks(there(**GPU), gpus=4) == []
        assert remarks(there(rocm="6.4"), gpus=8) == []  # how many, only ROCm knows

    def test_a_gpu_here_and_none_there(self) -> None:
        here = Facts(python="3.11.7", gpus=("NVIDIA T4",))
        assert only(remarks(there(), here=here)).words == "gpu1 has no GPU, this machine has NVIDIA T4"


def test_little_disk_is_said_and_errors_come_first() -> None:
    found = remarks(there(disk=1 << 20, python="3.9", modules={"cv2": False}), "cv2")
    assert [remark.fatal for remark in found] == [True, False, False]
    assert in_one_line(found) == "Python 3.9 there, 3.11.7 here; gpu1 has only 1 MiB of disk free"


class TestHostileHost:
    @pytest.mark.parametrize(
        "answer",
        [
            None, [], "x", {"packages": [1], "modules": 5, "gpus": {}, "disk": "much", "torch": "x"},
            {"packages": {1: 2, "numpy": ["1"]}, "modules": {"numpy": "yes"}, "gpus": [None, 3], "python": 3.11},
        ],
    )  # fmt: skip
    def test_an_answer_that_makes_no_sense(self, answer: Any) -> None:
        host = Facts.parse(answer)
        assert all(isinstance(remark.words, str) for remark in remarks(host, "numpy", gpus=1))

    def test_words_are_cut_and_cleaned(self) -> None:
        host = there(python="3.9\x1b[31m\n" + "x" * 10_000, gpus=["<script>\r" * 100], driver="\0")
        assert "\x1b" not in host.python and "\n" not in host.python
        assert len(host.python) <= 200
        assert len(host.gpus[0]) <= 200

    def test_endless_lists_are_cut(self) -> None:
        host = there(packages={f"p{n}": "1" for n in range(100_000)}, gpus=[H100] * 100_000)
        assert len(host.packages) <= 20_000
        assert len(host.gpus) <= 64


def test_what_a_host_is_asked_about() -> None:
    assert asked(["numpy.linalg", "numpy", "os.path", "google.cloud.storage", "lepton_jupyter.ml", "__main__"]) == [
        "google",
        "numpy",
    ]


@pytest.mark.parametrize(
    ("code", "needed", "optional"),
    [
        ("import a.b as c, d\nfrom e import f\nfrom . import g\nfrom .h import i", {"a.b", "d", "e"}, set()),
        ("def f():\n    import a\nclass C:\n    import b\nwith x:\n    import c", {"a", "b", "c"}, set()),
        ("try:\n    import a\nexcept KeyError:\n    import b", {"a", "b"}, set()),
        ("try:\n    import a\nexcept:\n    pass", set(), {"a"}),
        ("try:\n    import a\nfinally:\n    import b", {"a", "b"}, set()),
        ("import a\nif x:\n    import a, b", {"a"}, {"b"}),
        ("%load_ext x\n!ls\nimport a\n?a\nfor n in x:\n    !echo {n}", {"a"}, set()),
        ("%%time\nimport a", {"a"}, set()),
        ("%%html\nimport a", set(), set()),
        ("%%lepton_train --on x\nimport a", {"a"}, set()),
        ("import a\nthis is no Python\n  from b import c", {"a", "b"}, set()),
        ("\0", set(), set()),
        ("(" * 10_000, set(), set()),
    ],
)
def test_the_imports_of_a_cell(code: str, needed: set[str], optional: set[str]) -> None:
    found = imports.of_code(code)
    assert (found.needed, found.optional) == (needed, optional)
