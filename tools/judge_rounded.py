"""Judges what is rounded on purpose, the fast class and the BF16 and Q8 caches, by the goldens.

    python3 tools/judge_rounded.py PROGRAM --device cpu|wgpu [--webgpu dawn|wgpu-native]

Named cases keep their greedy tokens, and named logits stay within a quarter of `bf16_dev` in every row:
that is how far a model whose every op is rounded to BF16 is off. What is not named has choices between
two experts or two tokens that such rounding turns over. With a Q8 cache nothing is left out; its newest
pages are F16, so that only the 821 tokens of text.long have blocks to read while they decode.
Uses the goldens that CANDELA_ORACLE names, else the project's slim ones.
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import judge_goldens

ALL = {"text.basic", "text.eos", "text.batch", "text.long",
       "tiny_qwen3.basic", "tiny_qwen3.nothink", "tiny_qwen3.raw", "tiny_qwen3.batch",
       "tiny_qwen3_moe.basic", "tiny_qwen3_moe.nothink", "tiny_qwen3_moe.raw", "tiny_qwen3_moe.batch"}
# Of prompts, of their last rows, and while a case decodes.
LOGITS = ("logits", "last_logits", "greedy_logits")
SHARE = 0.25

BF16 = (["--precision", "exact", "--kv-type", "bf16"], ALL - {"tiny_qwen3_moe.batch"},
        {"text.basic/greedy_logits", "text.batch", "text.long/greedy_logits",
         "tiny_qwen3.basic", "tiny_qwen3.nothink/logits", "tiny_qwen3.batch",
         "tiny_qwen3_moe.basic", "tiny_qwen3_moe.nothink/logits"})
Q8 = (["--precision", "exact", "--kv-type", "q8"], ALL, ALL)
FAST = ["--precision", "fast", "--kv-type", "f32"]
# Activations as BF16, where the processor multiplies that. oneDNN adds up in another order, and a row
# of text.eos, at 0.24 without it, goes just beyond the quarter (0.252).
FAST_CPU = (FAST, ALL - {"text.batch"},
            {"text.basic", "text.batch", "text.eos/greedy_logits", "tiny_qwen3.basic", "tiny_qwen3.raw",
             "tiny_qwen3.batch", "tiny_qwen3_moe.nothink", "tiny_qwen3_moe.raw/greedy_logits"} |
            ({"text.eos"} if os.environ.get("CANDELA_ONEDNN") == "off" else set()))
# Activations as F16, where there are matrix cores.
FAST_WGPU = (FAST, ALL, ALL - {"text.long"} | {"text.long/greedy_logits"})
# (arguments of trace, cases that keep their tokens, near logits: of a case, or "case/array")
MODES = {"cpu": [FAST_CPU, BF16, Q8], "wgpu": [FAST_WGPU, BF16, Q8]}


def faults(case, got, gold, keeps_tokens, near):
    """Clear texts of what is wrong with one case."""
    import numpy as np
    for entry in case["arrays"]:
        name, key = entry["name"], entry["key"]
        if name == "greedy_tokens" and keeps_tokens:
            if not np.array_equal(got[key], gold[key]):
                yield f"{key}: {got[key].tolist()} for {gold[key].tolist()}"
        if name in LOGITS and (case["id"] in near or f"{case['id']}/{name}" in near):
            off = np.abs(got[key].astype(float) - gold[key].astype(float)).max(-1) / entry["bf16_dev"]
            far = int((~(off <= SHARE)).sum())
            if far:
                yield (f"{key}: {far} of {off.size} rows are off by more than {SHARE} of bf16_dev, the "
                       f"worst by {off.max():.3g}")


def cases_of(mode):
    """The cases that a mode judges."""
    _, tokens, near = mode
    return tokens | {name.split("/")[0] for name in near}


def judge(program, device, mode, model, index, prefix):
    """Judges all cases of a checkpoint in one mode; returns (cases judged, cases failed)."""
    from oracle import compare
    options, tokens, near = mode
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "trace", model, "--index", index, "--case", prefix, "-o", folder,
                        *device, *options], check=True)
        got = {}
        for path in glob.glob(os.path.join(folder, "*.safetensors")):
            got.update(compare.load(path))
    judged = failed = 0
    with open(index, encoding="utf-8") as f:
        cases = [c for c in json.load(f)["cases"] if c["id"].startswith(prefix)]
    for case in cases:
        if case["id"] not in cases_of(mode):
            continue
        gold = compare.load(os.path.join(os.path.dirname(index), case["file"]))
        wrong = list(faults(case, got, gold, case["id"] in tokens, near))
        judged += 1
        failed += bool(wrong)
        for text in wrong:
            print(f"FAIL {' '.join(options)}: {text}")
    return judged, failed


def main():
    python = judge_goldens.python_with_numpy()
    if python != sys.executable:
        os.execv(python, [python, *sys.argv])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--webgpu")
    args = parser.parse_args()
    device = ["--device", args.device] + (["--webgpu", args.webgpu] if args.webgpu else [])
    omni, omni_index, plain, plain_index, _ = judge_goldens.layout(
        os.environ.get("CANDELA_ORACLE") or None)
    judged = failed = expected = 0
    for mode in MODES[args.device.split(":")[0]]:
        expected += len(cases_of(mode))
        for model, index, prefix in ((omni, omni_index, "text."),
                                     (os.path.join(plain, "tiny_qwen3"), plain_index, "tiny_qwen3."),
                                     (os.path.join(plain, "tiny_qwen3_moe"), plain_index,
                                      "tiny_qwen3_moe.")):
            now = judge(args.program, device, mode, model, index, prefix)
            judged += now[0]
            failed += now[1]
    print(f"{judged} of {expected} cases judged, {failed} failed")
    sys.exit(1 if failed or judged != expected else 0)


if __name__ == "__main__":
    main()
