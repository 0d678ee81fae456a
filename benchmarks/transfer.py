"""Large data up and down, beside scp, rsync, paramiko's SFTP and ipyparallel: on loopback and at a round trip of 50 ms.

Ours is a file's content from here into the host's store, or back, with every byte verified where it arrives. What it
takes before, to keep a copy here under its digest, is said beside: an unchanged file is not read again.
"""

from __future__ import annotations

import array
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ._bed import Bed, Contender, Failed
from ._table import Row, Sample, against, in_turn, span

_DELAY = 25.0  # milliseconds each way
_SIZE, _QUICK = 400, 2  # MB


def loopback(bed: Bed) -> list[Row]:
    return _measure(bed, 0.0, "loopback", 3)


def far(bed: Bed) -> list[Row]:
    return _measure(bed, _DELAY, f"round trip {2 * _DELAY:.0f} ms", 1)


def _measure(bed: Bed, delay: float, where: str, rounds: int) -> list[Row]:
    size = _QUICK if bed.quick else _SIZE
    proxy = bed.proxy(delay) if delay else None
    ours, sftp = bed.ours("ssh", proxy, script="carry"), bed.sftp(proxy)
    copies = Copies(bed, proxy.port if proxy else bed.sshd.port)
    rows = []
    for kind, make in (("incompressible", noise), ("like a DataFrame", frame)):
        path = make(bed.new_folder() / "data", size * 1_000_000)
        copy = path.with_name("copy")
        squeeze = bool(delay) and make is frame
        for way in ("up", "down"):
            before: list[float] = []

            def carry(way: str = way, path: Path = path, before: list[float] = before) -> float:
                answer = ours.ask(way, path=str(path))
                before.append(answer.get("before", 0.0))
                return float(answer["took"])

            contenders = {"ours": carry, **copies.contenders(way, path, copy, squeeze)}
            if make is noise:
                contenders["paramiko SFTP"] = _took(sftp, way, path=str(path), to=str(copy))
            took = in_turn(contenders, 1 if bed.quick else rounds, warm_up=0)
            copy.unlink(missing_ok=True)
            words = str(took["ours"])
            if way == "up":
                words += f", after {Sample(values=tuple(before))} to keep it under its digest"
            rows.append(_row(f"{size} MB {kind} {way}, {where}", words, took, copies.notes, far=bool(delay)))
        path.unlink()
    bed.close()
    return rows


def _row(figure: str, words: str, took: dict[str, Sample], notes: list[str], far: bool) -> Row:
    ratio, goal = against(took["ours"], took["scp"]), "≤ 1.0 × `scp`"
    met, shown = ratio <= 1.0, f"{ratio:.2f}"
    if far and "paramiko SFTP" in took:
        other = against(took["ours"], took["paramiko SFTP"])
        goal, met, shown = f"{goal}, ≤ 0.77 × paramiko SFTP", met and other <= 0.77, f"{ratio:.2f}, {other:.2f}"
    peers = [f"{name} {sample}" for name, sample in took.items() if name != "ours"]
    return Row(figure=figure, goal=goal, ours=words, peer="; ".join(peers + notes), ratio=shown, met=met)


class Copies:
    """scp and rsync over OpenSSH, into the same machine."""

    def __init__(self, bed: Bed, port: int) -> None:
        folder = bed.new_folder()
        self._config = bed.sshd.config_for(folder, port=port)
        self._alias, self._env = bed.sshd.alias, bed.env
        self.notes = [] if shutil.which("rsync") else ["rsync is not installed"]

    def contenders(self, way: str, path: Path, copy: Path, squeeze: bool) -> dict[str, Callable[[], float]]:
        """Each way to make `copy` of `path`; with `squeeze` rsync compresses."""
        commands = {"scp": ["scp", "-q", "-F", str(self._config)]}
        if not self.notes:
            flag = ["-z"] if squeeze else []
            commands[" ".join(["rsync", *flag])] = ["rsync", *flag, "-e", f"ssh -F {self._config}"]
        ends = (str(path), f"{self._alias}:{copy}") if way == "up" else (f"{self._alias}:{path}", str(copy))
        return {
            name: lambda command=command: self._run([*command, *ends], copy)  # type: ignore[misc]
            for name, command in commands.items()
        }

    def _run(self, command: list[str], copy: Path) -> float:
        copy.unlink(missing_ok=True)
        began = time.perf_counter()
        done = subprocess.run(command, env=self._env, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"{command[0]}: {done.stderr.strip()[-200:]}")
        return time.perf_counter() - began


def _took(contender: Contender, do: str, **fields: str) -> Callable[[], float]:
    """Seconds that it takes, with what has to be done before."""

    def measure() -> float:
        answer = contender.ask(do, **fields)
        return float(answer["took"] + answer.get("before", 0.0))

    return measure


def pushed(bed: Bed) -> list[Row]:
    """Ours from the store of one end to that of the other, verified; ipyparallel's from memory to memory, in clear."""
    size = _QUICK if bed.quick else 100
    path = noise(bed.new_folder() / "data", size * 1_000_000)
    ours = {"local": bed.ours("local", script="carry"), "ssh": bed.ours("ssh", script="carry")}
    why = ""
    rows = []
    try:
        peer: Contender | None = bed.ipyparallel()[0]
    except Failed as error:
        peer, why = None, str(error)
    for way, verb in (("up", "push"), ("down", "pull")):
        contenders = {name: _took(one, way, path=str(path)) for name, one in ours.items()}
        if peer:
            contenders["peer"] = _took(peer, way, path=str(path))
        took = in_turn(contenders, 1 if bed.quick else 3, warm_up=0 if bed.quick else 1)
        for name in ours:
            ratio = against(took[name], took["peer"]) if peer else None
            rows.append(
                Row(
                    figure=f"{size} MB in memory {way}, `{name}`, loopback", goal="",
                    ours=str(took[name]), ratio=f"{ratio:.2f}" if ratio else "",
                    peer=f"{bed.peers.version('ipyparallel')} {verb}, without SSH {took['peer']}" if peer else why,
                )
            )  # fmt: skip
    bed.close()
    return rows


def files(bed: Bed) -> list[Row]:
    """A folder of small files, and what it takes to bring it up to date."""
    count = 50 if bed.quick else 1000
    proxy = bed.proxy(_DELAY)
    ours, rtt = bed.ours("ssh", proxy, script="carry"), 2 * _DELAY / 1000
    copies = bed.sshd.config_for(bed.new_folder(), port=proxy.port)
    rows, rounds = [], 1 if bed.quick else 3
    values: dict[str, list[float]] = {"ours": [], "tar": [], "nothing": [], "one": [], "some": []}
    changed: dict[str, int] = {"nothing": 0}
    for number in range(rounds):
        folder = bed.new_folder() / "folder"
        folder.mkdir()
        for name in range(count):
            (folder / f"{name:04}.txt").write_bytes(os.urandom(2500).hex().encode())
        place = folder.with_name("place")
        values["ours"].append(_folder(ours, folder, place)[0])
        values["tar"].append(_tar(bed, copies, folder))
        values["nothing"].append(_folder(ours, folder, place)[0])
        (folder / "0007.txt").write_text(f"changed {number}")
        seconds, travelled = _folder(ours, folder, place)
        values["one"].append(seconds)
        changed["one"] = travelled
        for name in range(0, count, 100):
            (folder / f"{name:04}.txt").write_bytes(os.urandom(2500).hex().encode())
        seconds, changed["some"] = _folder(ours, folder, place)
        values["some"].append(seconds)
    took = {name: Sample(values=tuple(found)) for name, found in values.items()}
    ratio = against(took["ours"], took["tar"])
    where = f"round trip {rtt * 1e3:.0f} ms"
    rows.append(
        Row(
            figure=f"{count:,} small files up, {where}", goal="≤ 1.2 × `tar` through ssh", ours=str(took["ours"]),
            peer=f"tar through a new ssh {took['tar']}", ratio=f"{ratio:.2f}", met=ratio <= 1.2,
        )
    )  # fmt: skip
    for name, words in (("nothing", "nothing"), ("one", "1 file"), ("some", "1 % of the files")):
        rows.append(
            Row(
                figure=f"the same with {words} changed", goal="≤ 5 RTT + the changed bytes", peer="",
                ours=f"{took[name]}, {changed[name]:,} bytes of data", met=took[name].median <= 5 * rtt,
            )
        )  # fmt: skip
    size = _QUICK if bed.quick else 100
    path = noise(bed.new_folder() / "data", size * 1_000_000)
    rows.append(_part_changed(ours, path, size * 1_000_000, where, rtt))
    again = ours.ask("again", path=str(path))
    rows.append(
        Row(
            figure=f"{size} MB that the host has, over a new link, {where}", goal="0 bytes of data", peer="",
            ours=f"{span(again['took'])}, {again['travelled']} bytes of data", met=again["travelled"] == 0,
        )
    )  # fmt: skip
    bed.close()
    return rows


def _part_changed(ours: Contender, path: Path, size: int, where: str, rtt: float) -> Row:
    """A large file, and that file again with 1 % of its bytes changed, in ten places."""
    fields = {"path": str(path), "place": str(path.with_name("place"))}
    ours.ask("folder", **fields)
    with path.open("r+b") as file:
        for place in range(10):
            file.seek(place * size // 10)
            file.write(os.urandom(size // 1000))
    answer = ours.ask("folder", **fields)
    took, before = float(answer["took"]), float(answer["before"])
    return Row(
        figure=f"{size // 1_000_000} MB again with 1 % of it changed, in ten places, {where}",
        goal="≤ 5 RTT + the changed bytes", peer="", met=took - before <= 5 * rtt,
        ours=f"{span(took - before)}, {answer['travelled']:,} bytes of data, after {span(before)} to keep it here",
    )  # fmt: skip


def _folder(ours: Contender, folder: Path, place: Path) -> tuple[float, int]:
    answer = ours.ask("folder", path=str(folder), place=str(place))
    return float(answer["took"]), int(answer["travelled"])


def _tar(bed: Bed, config: Path, folder: Path) -> float:
    """Seconds that tar through ssh takes, as one types it."""
    place = folder.with_name("tarred")
    place.mkdir()
    line = f"tar cf - -C {folder} . | ssh -F {config} {bed.sshd.alias} tar xf - -C {place}"
    began = time.perf_counter()
    subprocess.run(["sh", "-c", line], check=True, env=bed.env, capture_output=True)
    return time.perf_counter() - began


def noise(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        for _ in range(size // 1_000_000):
            file.write(os.urandom(1_000_000))
    return path


def frame(path: Path, size: int) -> Path:
    """Columns as tables have them: ids, times, prices, counts, categories, in blocks too long for zlib to see again."""
    dice = random.Random(7)
    rows = 200_000
    block = b"".join(
        (
            array.array("q", range(rows)).tobytes(),
            array.array("q", (1_700_000_000_000 + 250 * row + dice.randrange(9) for row in range(rows))).tobytes(),
            array.array("d", (round(dice.gauss(100, 20), 2) for _ in range(rows))).tobytes(),
            array.array("i", (dice.randrange(1000) for _ in range(rows))).tobytes(),
            array.array("b", (dice.randrange(5) for _ in range(rows))).tobytes(),
        )
    )
    with path.open("wb") as file:
        while (left := size - file.tell()) > 0:
            file.write(block[:left])
    return path
