"""Runs `candela trace` over goldens and judges what it wrote, as tools/oracle/compare.py does.

    python3 tools/judge_goldens.py PROGRAM --device cpu|wgpu [--webgpu dawn|wgpu-native]
        [--oracle DIR] [--what omni qwen3 ops]

Without --oracle the slim goldens of the project are used, and the full ones, too, where the
environment variable CANDELA_ORACLE names their folder. Needs a Python with numpy; when the one that
runs this has none, /usr/bin/python3 is tried for the comparison.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
COMPARE = os.path.join(ROOT, "tools", "oracle", "compare.py")
REQUIRED = ["greedy_tokens", "greedy_logits", "logits", "final_norm", "L0.out"]


def python_with_numpy():
    for python in (sys.executable, "/usr/bin/python3"):
        found = subprocess.run([python, "-c", "import numpy"], capture_output=True, check=False)
        if found.returncode == 0:
            return python
    sys.exit("no Python here has numpy; scripts/setup brings python3-numpy")


def layout(oracle):
    """(Omni checkpoint, its index, plain checkpoints' folder, their index, ops) of an oracle."""
    if oracle is None:
        golden = os.path.join(ROOT, "tests", "golden")
        return (os.path.join(ROOT, "models", "tiny-omni"), os.path.join(golden, "index.json"),
                golden, os.path.join(golden, "golden_qwen3", "index.json"),
                os.path.join(golden, "ops.json"))
    return (os.path.join(oracle, "tiny_omni"), os.path.join(oracle, "golden", "index.json"),
            oracle, os.path.join(oracle, "golden_qwen3", "index.json"),
            os.path.join(oracle, "golden", "ops.json"))


def output_names(ops_path):
    with open(ops_path, encoding="utf-8") as f:
        return sorted({o["name"] for c in json.load(f)["cases"] for o in c["outputs"]})


def runs(oracle, what):
    """(title, arguments of trace, index, arguments of compare) of everything to be judged."""
    omni, omni_index, plain, plain_index, ops = layout(oracle)
    if "omni" in what:
        yield ("tiny-omni", [omni, "--index", omni_index, "--case", "text."], omni_index,
               ["--case", "text.", "--require", *REQUIRED])
    if "qwen3" in what:
        for model in ("tiny_qwen3", "tiny_qwen3_moe"):
            yield (model, [os.path.join(plain, model), "--index", plain_index], plain_index,
                   ["--case", model + ".", "--require", *REQUIRED])
    if "ops" in what:
        # The slim set holds only what candela computes; a full one may be ahead of it.
        required = ["--require", *output_names(ops)] if oracle is None else []
        yield "operations", ["--ops", ops], ops, required


def judge(program, device, oracle, what, python):
    """Runs everything of one oracle; returns how many runs failed."""
    failed = 0
    for title, trace, index, compare in runs(oracle, what):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([program, "trace", *trace, "-o", folder, *device], check=False)
            if done.returncode == 0:
                done = subprocess.run([python, COMPARE, "--index", index, "--got", folder, *compare],
                                      check=False)
        verdict = "ok" if done.returncode == 0 else f"FAILED (exit status {done.returncode})"
        print(f"{title}, {'full' if oracle else 'slim'} goldens: {verdict}", flush=True)
        failed += done.returncode != 0
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--webgpu")
    parser.add_argument("--oracle")
    parser.add_argument("--what", nargs="+", default=["omni", "qwen3", "ops"])
    args = parser.parse_args()
    device = ["--device", args.device] + (["--webgpu", args.webgpu] if args.webgpu else [])
    oracles = [args.oracle] if args.oracle else [None, os.environ.get("CANDELA_ORACLE") or None]
    python = python_with_numpy()
    failed = 0
    for i, oracle in enumerate(oracles):
        if i == 0 or oracle is not None:
            failed += judge(args.program, device, oracle, args.what, python)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
