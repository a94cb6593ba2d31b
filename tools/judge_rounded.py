"""Judges what is rounded on purpose, the fast class and the BF16 and Q8 caches, by the goldens.

    python3 tools/judge_rounded.py PROGRAM --device cpu|wgpu [--webgpu dawn|wgpu-native]

Named cases keep their greedy tokens, and in the nearest of them the logits stay within a quarter of
`bf16_dev`, which is how far a model whose every op is rounded to BF16 is off. Cases that are not named
have choices between two experts or two tokens that such rounding turns over. In a long one some rows
may be further off, by no more than `bf16_dev`: of a prompt of 800 tokens some change an expert. Its logits
while it decodes are judged as well, because only there a Q8_0 cache has pages old enough to be blocks;
their eight bits put two of twelve rows beyond the quarter without any other expert.
Uses the goldens that CANDELA_ORACLE names, else the
project's slim ones.
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

TEXT = {"text.basic", "text.eos", "text.batch", "text.long"}
PLAIN = {"tiny_qwen3.basic", "tiny_qwen3.nothink", "tiny_qwen3.raw", "tiny_qwen3.batch"}
EXPERTS = {"tiny_qwen3_moe.basic", "tiny_qwen3_moe.nothink", "tiny_qwen3_moe.raw",
           "tiny_qwen3_moe.batch"}
ALL = TEXT | PLAIN | EXPERTS

LONG = "text.long"
SHARE = 0.25


def none_far(*cases):
    """Cases that have to be near in every row."""
    return dict.fromkeys(cases, 0)


CACHED = none_far("text.batch", "tiny_qwen3.basic", "tiny_qwen3.nothink", "tiny_qwen3_moe.basic",
                     "tiny_qwen3_moe.nothink")
# (arguments of trace, cases that keep their tokens, cases with near logits: rows that may be further)
CACHES = [
    (["--precision", "exact", "--kv-type", kind], ALL - {"tiny_qwen3_moe.batch"}, CACHED | {LONG: 2})
    for kind in ("bf16", "q8")
]
FAST = ["--precision", "fast", "--kv-type", "f32"]
# On the CPU oneDNN, where it multiplies, leaves a row of text.eos just beyond the quarter (0.252).
ONEDNN = os.environ.get("CANDELA_ONEDNN", "auto") != "off"
MODES = {
    # Activations as BF16, where the processor multiplies that.
    "cpu": [(FAST, ALL - {"text.batch"},
             none_far("text.basic", "text.batch", "tiny_qwen3.basic", "tiny_qwen3.raw",
                      "tiny_qwen3_moe.nothink") | {"text.eos": int(ONEDNN)}),
            *CACHES],
    # Activations as F16, where there are matrix cores.
    "wgpu": [(FAST, ALL, none_far(*(ALL - {LONG})) | {LONG: 1}), *CACHES],
}


def faults(case, got, gold, keeps_tokens, may_be_far):
    """Clear texts of what is wrong with one case; may_be_far: None where logits are not judged."""
    import numpy as np
    judged = {"logits", "last_logits"} | ({"greedy_logits"} if case["id"] == LONG else set())
    for entry in case["arrays"]:
        name, key = entry["name"], entry["key"]
        if name == "greedy_tokens" and keeps_tokens:
            if not np.array_equal(got[key], gold[key]):
                yield f"{key}: {got[key].tolist()} for {gold[key].tolist()}"
        if name in judged and may_be_far is not None:
            off = np.abs(got[key].astype(float) - gold[key].astype(float)).max(-1) / entry["bf16_dev"]
            far = int((~(off <= SHARE)).sum())
            if far > may_be_far or not off.max() <= 1.0:
                yield (f"{key}: {far} of {off.size} rows are off by more than {SHARE} of bf16_dev, the "
                       f"worst by {off.max():.3g}; {may_be_far} may be, by no more than 1")


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
        if case["id"] not in tokens and case["id"] not in near:
            continue
        gold = compare.load(os.path.join(os.path.dirname(index), case["file"]))
        wrong = list(faults(case, got, gold, case["id"] in tokens, near.get(case["id"])))
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
        expected += len(mode[1] | mode[2].keys())
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
