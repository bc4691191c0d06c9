"""Files that were changed at random are refused in one line, or used: ``python tests/fuzz.py --seconds 600``.

A checkpoint, the files of a run folder, a wav, a zip of recordings, an .npz of statistics and a result are each changed
(bits flipped, lengths changed, fields retyped) and given to what reads them, each in a process of its own with limits
of memory and time. A finding is an exit code other than 0 and 2, a traceback, more than one line for a refusal, more
than two seconds of the processor, a connection, or a file written elsewhere than where it was to be. The same seed
makes the same changes; a file with a finding is kept.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

MEMORY = 2**31  # bytes of address space more than the imports need
SECONDS = 2.0  # of the processor, for one file
DEEP = "[" * 100_000
WRONG = [
    None, True, -1, 0, 7, 3.5, -0.0, 10**30, 10**4000, 1e308, 2**31, 2**63, float("inf"), float("nan"), "", "x",
    "../../etc/passwd", "/etc/passwd", "os:system", "\x1b[2J", "\ud800", [], {}, [1, "a"], [[[]]], {"a": None},
    "x" * 10_000,
]  # fmt: skip


# ---- changes


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """Bits flipped, or lengths changed, or a number in it made extreme."""
    data = bytearray(content)
    at = rng.randrange(len(data)) if data else 0
    if rng.random() < 0.5:  # most headers are short, and stand at the beginning or the end
        at = rng.choice([at % 200, -(at % 200) - 1]) % max(len(data), 1)
    how = rng.randrange(6)
    if how == 0:
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == 1:
        data[at] ^= 1 << rng.randrange(8)
    elif how == 2:
        del data[at:]
    elif how == 3:
        data[at:at] = rng.randbytes(rng.choice([1, 4, 100, 5000]))
    elif how == 4:
        del data[at : at + rng.choice([1, 2, 4, 100])]
    else:
        extreme = rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1])
        width, form = rng.choice([(2, "<H"), (4, "<I"), (8, "<Q")])
        data[at : at + width] = struct.pack(form, extreme & (256**width - 1))
    return bytes(data)


def change_fields(value: object, rng: random.Random) -> object:
    """One of the values within, or the whole, made another; or its name, or gone."""
    places = list(_places(value))
    holder, key = rng.choice(places)
    how = rng.random()
    if how < 0.1 and isinstance(holder, dict):
        del holder[key]
    elif how < 0.2 and isinstance(holder, dict):
        holder[rng.choice(["surprise", "__class__", "../x", ""])] = holder.pop(key)
    else:
        holder[key] = rng.choice(WRONG)
    return value


def _places(value: object):
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, dict | list) and inner:
            yield from _places(inner)


def change_json(content: bytes, rng: random.Random) -> bytes:
    how = rng.random()
    if how < 0.25:
        return change_bytes(content, rng)
    value = json.loads(content)
    text = json.dumps(change_fields(value, rng))
    if how < 0.35:
        text = text.replace(rng.choice(["null", "1", "0", '"x"']), DEEP, 1)
    return text.encode("utf8", "surrogatepass")


def change_safetensors(content: bytes, rng: random.Random) -> bytes:
    """Its header, what we write into that, or its bytes."""
    if rng.random() < 0.3:
        return change_bytes(content, rng)
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    if rng.random() < 0.7:
        header["__metadata__"]["ddim_edu"] = change_json(header["__metadata__"]["ddim_edu"].encode(), rng).decode(
            "utf8", "replace"
        )
    else:
        change_fields(header, rng)
    text = json.dumps(header).encode()
    body = bytearray(content[8 + length :])
    if rng.random() < 0.3:  # not a number, infinity
        at = rng.randrange(len(body) // 4) * 4
        body[at : at + 4] = struct.pack("<f", rng.choice([float("nan"), float("inf"), 1e38]))
    return struct.pack("<Q", len(text)) + text + bytes(body)


def change_zip(content: bytes, rng: random.Random) -> bytes:
    """Its bytes, or one of its files."""
    if rng.random() < 0.5:
        return change_bytes(content, rng)
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            inside = old.read(name)
            if name == chosen:
                inside = rng.choice([change_bytes(inside, rng), b"", b"\0" * 2_000_000])
                name = rng.choice([name, name, "../" + name, "/" + name, name + "/x", "\x1b[2J" + name, "0_0_0.wav"])
            new.writestr(name, inside)
    return made.getvalue()


def change_csv(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return change_bytes(content, rng)
    rows = [line.split(",") for line in content.decode().splitlines()]
    row = rng.choice(rows)
    row[rng.randrange(len(row))] = rng.choice(["", "x", "-1", "1e400", "nan", '"', "9" * 50, "=1+1", "a,b,c"])
    return "\n".join(map(",".join, rows)).encode()


# ---- what is read, and how


@dataclass(frozen=True)
class Subject:
    """Files to change, and what reads them.

    Attributes:
        files: By name: the content, and how it is changed.
        read: Given the folder that holds them, and one to write into: an exit code.
    """

    files: dict[str, tuple[bytes, Callable[[bytes, random.Random], bytes]]]
    read: Callable[[Path, Path], int]


def subjects(folder: Path) -> dict[str, Subject]:
    """All of them, made anew; the imports that the children are to have made are made here."""
    import numpy as np
    import torch

    from ddim_edu.commands import evaluate, sample
    from ddim_edu.commands.options import carry_out
    from ddim_edu.data.recordings import SHIPPED, read_sounds
    from ddim_edu.data.spectrograms import log_mel, pad_or_trim, read_wav
    from ddim_edu.measuring.reference import read_statistics
    from ddim_edu.measuring.result import ResultFile
    from ddim_edu.training.recipes import RECIPES
    from ddim_edu.training.run_folder import RunFolder
    from ddim_edu.training.trainer import Trainer

    torch.set_num_threads(1)
    digits = RECIPES["digits"]
    net = replace(digits.unet, ch=8, groups=4, num_res_blocks=1)
    run = folder / "run"
    run.mkdir()
    trainer = Trainer.start(replace(digits, unet=net, batch=4, steps=4, log_every=1, save_every=2, T=20), run)
    for record in trainer.run():
        if record.step == 2:
            break
    trainer.close()

    def of_result(where: Path, out: Path) -> int:
        code = evaluate.main(["compare", str(where / "fid.json"), str(where / "fid.json")])

        def go_on() -> None:
            file = ResultFile(where / "table1.json", "table1", "command")
            file.begin({"model": None, "protocol": {}})
            file.missing([{"steps": 10}])

        return code or carry_out(go_on)

    def resume(where: Path, out: Path) -> int:
        def work() -> None:
            RunFolder(where).log()
            Trainer.resume(where).close()

        return carry_out(work)

    numbers = io.BytesIO()
    np.savez(numbers, mu=np.zeros(8), sigma=np.eye(8), n=100)
    zipped = io.BytesIO()
    wavs = sorted(SHIPPED.rglob("*.wav"))[:6]
    with zipfile.ZipFile(zipped, "w") as archive:
        for wav in wavs:
            archive.write(wav, wav.name)
    results = Path(__file__).resolve().parents[1] / "results"
    files = {
        "config.json": change_json, "log.csv": change_csv, "state.pt": change_zip,
        "checkpoint.safetensors": change_safetensors,
    }  # fmt: skip
    checkpoint = (run / "checkpoint.safetensors").read_bytes()
    words = ["--steps", "1", "-n", "1", "--device", "cpu", "--out"]
    return {
        "checkpoint": Subject(
            {"a.safetensors": (checkpoint, change_safetensors)},
            lambda where, out: sample.main([str(where / "a.safetensors"), *words, str(out / "a.png")]),
        ),
        "run": Subject({name: ((run / name).read_bytes(), how) for name, how in files.items()}, resume),
        "wav": Subject(
            {"a.wav": (wavs[0].read_bytes(), change_bytes)},
            lambda where, out: carry_out(lambda: log_mel(pad_or_trim(read_wav(where / "a.wav")).sound[None])),
        ),
        "zip": Subject(
            {"a.zip": (zipped.getvalue(), change_zip)},
            lambda where, out: carry_out(lambda: read_sounds(where / "a.zip")),
        ),
        "npz": Subject(
            {"a.npz": (numbers.getvalue(), change_zip)},
            lambda where, out: carry_out(lambda: read_statistics(where / "a.npz")),
        ),
        "result": Subject(
            {
                "fid.json": ((results / "fid_cifar10_train_test.json").read_bytes(), change_json),
                "table1.json": ((results / "table1_digits_1000.json").read_bytes(), change_json),
            },
            of_result,
        ),
    }


# ---- a process for each


def judged(subject: Subject, seed: str, folder: Path, memory: int) -> str | None:
    """What is wrong with how one changed file is read; None if nothing is."""
    rng = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    where, out = folder / "in", folder / "out"
    for path in (where, out):
        path.mkdir(parents=True)
    chosen = rng.choice(sorted(subject.files))
    for name, (content, change) in subject.files.items():
        (where / name).write_bytes(change(content, rng) if name == chosen else content)
    said = folder / "said"
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        _read(subject, where, out, said, memory)
    began = time.monotonic()
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() - began > 20 * SECONDS:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    text = said.read_text(errors="replace")
    errors = [line for line in text.splitlines() if line.startswith("error:")]
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 2) or "Traceback" in text:
        return f"exit {code}: {text[-600:]}"
    if code == 2 and (len(errors) != 1 or not text.rstrip("\n").splitlines()[-1].startswith("error:")):
        return f"not one line: {text[-600:]}"
    if used.ru_utime + used.ru_stime > SECONDS:
        return f"{used.ru_utime + used.ru_stime:.1f} s: {text[-200:]}"
    return None


def _read(subject: Subject, where: Path, out: Path, said: Path, memory: int) -> None:
    """In the child: read the files, and end."""
    handle = os.open(said, os.O_WRONLY | os.O_CREAT)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = open(1, "w", buffering=1), open(2, "w", buffering=1, errors="backslashreplace")
    os.chdir(out)
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.addaudithook(_watch((str(where), str(out), os.devnull, "/dev/shm", "/proc")))
        code = subject.read(where, out)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _watch(allowed: tuple[str, ...]) -> Callable[[str, tuple], None]:
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def hook(event: str, arguments: tuple) -> None:
        path = None
        if event == "open" and isinstance(arguments[0], str) and (arguments[2] or 0) & writes:
            path = arguments[0]
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.chmod"):
            path = arguments[0]
        elif event == "os.rename":
            path = arguments[1]
        elif event in ("socket.connect", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
            os.write(2, f"Traceback: {event} {arguments!r}\n".encode()[:500])
            os._exit(99)
        if path is not None and not os.path.abspath(os.fsdecode(path)).startswith(allowed):
            os.write(2, f"Traceback: {event} {path!r}\n".encode())
            os._exit(99)

    return hook


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, help="how long; without it, --count of each")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one of the subjects")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "fuzz-findings")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        os.environ |= {"HOME": str(folder / "home"), "DDIM_EDU_CACHE": str(folder / "cache"), "COLUMNS": "120"}
        for variable in ("DDIM_EDU_DATA", "XDG_CACHE_HOME"):
            os.environ.pop(variable, None)
        known = subjects(folder)
        if options.only:
            known = {options.only: known[options.only]}
        pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 2**22
        memory = pages * resource.getpagesize() + MEMORY
        began, n, findings = time.monotonic(), 0, 0
        while (n < options.count) if options.seconds is None else (time.monotonic() - began < options.seconds):
            for kind, subject in known.items():
                seed = f"{options.seed} {kind} {n}"
                wrong = judged(subject, seed, folder / "work", memory)
                if wrong:
                    findings += 1
                    kept = options.keep / seed.replace(" ", "-")
                    shutil.copytree(folder / "work", kept, dirs_exist_ok=True)
                    print(f"{seed}: {wrong}\n  kept in {kept}", flush=True)
            n += 1
        print(f"{n * len(known):,} files, {findings} findings, {time.monotonic() - began:.0f} s")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
