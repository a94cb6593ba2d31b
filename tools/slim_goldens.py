"""Takes a slim set of goldens out of a full oracle folder, so that a clone can test itself.

    python3 tools/slim_goldens.py ORACLE [--out tests/golden] [--models models]

Kept: the text cases and the rotary table of the Omni checkpoint, both plain Qwen3 checkpoints with
their cases, the single operations named in OPS, the tokenizer and template cases, the SmolLM2
answers, and the small checkpoints. Dropped: bf16.* arrays (informative only) and most rows of the
large logits, by a slice on axis 0 written into the index as any other slice. The index format is
that of the oracle, so tools/oracle/compare.py reads both. Needs no package beyond Python.
"""
import argparse
import json
import os
import shutil
import struct

CASES = ("text.", "rope.")
OPS = {
    "rmsnorm", "layernorm", "silu", "gelu_erf", "gelu_tanh", "sigmoid", "swiglu", "softmax",
    "f32_to_bf16", "bf16_to_f32", "linear", "rope", "mrope_interleaved", "topk_router", "moe",
    "conv1d_causal", "conv_transpose1d_trimmed", "conv2d", "attention", "repetition_penalty",
    "sampling_filter",
}
LOGITS = ("logits", "greedy_logits")
LOGITS_STEP = 8       # every 8th row of whole logits is kept
LOGITS_BYTES = 65536  # smaller ones stay whole
TOKENIZER = ("LICENSE", "NOTICE.md", "omni_chat_template.jinja", "qwen3_chat_template.jinja",
             "qwen3_tokenizer_config.json")


def load(path):
    """{key: (dtype, shape, bytes)} of a safetensors file."""
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        head = json.loads(f.read(size))
        data = f.read()
    head.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])])
            for name, t in head.items()}


def save(path, tensors):
    head, at = {}, 0
    for name, (dtype, shape, raw) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, raw in tensors.values():
            f.write(raw)


def thin_rows(entry, tensor):
    """Keeps every LOGITS_STEP-th row and notes the slice in the index entry."""
    dtype, shape, raw = tensor
    row = len(raw) // shape[0]
    kept = range(0, shape[0], LOGITS_STEP)
    entry["full_shape"] = shape
    entry["slice"] = f"::{LOGITS_STEP}" + ", :" * (len(shape) - 1)
    entry["shape"] = [len(kept)] + shape[1:]
    return dtype, entry["shape"], b"".join(raw[i * row:(i + 1) * row] for i in kept)


def slim_cases(index_path, out_dir, keep):
    """Writes the kept cases of a model-level index and the files they name."""
    with open(index_path, encoding="utf-8") as f:
        index = json.load(f)
    index["cases"] = [c for c in index["cases"] if keep(c)]
    source, files = {}, {}
    for case in index["cases"]:
        name = case["file"]
        if name not in source:
            source[name] = load(os.path.join(os.path.dirname(index_path), name))
            files[name] = {}
        case["arrays"] = [a for a in case["arrays"] if not a["name"].startswith("bf16.")]
        for entry in case["arrays"]:
            tensor = source[name][entry["key"]]
            whole = entry["name"] in LOGITS and not entry.get("slice")
            if whole and len(tensor[2]) > LOGITS_BYTES:
                tensor = thin_rows(entry, tensor)
            files[name][entry["key"]] = tensor
    for name, tensors in files.items():
        save(os.path.join(out_dir, name), tensors)
    if "files" in index:
        index["files"] = {n: os.path.getsize(os.path.join(out_dir, n)) for n in sorted(files)}
    write_json(os.path.join(out_dir, os.path.basename(index_path)), index)


def slim_ops(folder, out_dir):
    with open(os.path.join(folder, "ops.json"), encoding="utf-8") as f:
        index = json.load(f)
    index["cases"] = [c for c in index["cases"] if c["op"] in OPS]
    tensors = load(os.path.join(folder, index["file"]))
    keys = [e["key"] for c in index["cases"] for e in c["inputs"] + c["outputs"]]
    save(os.path.join(out_dir, index["file"]), {k: tensors[k] for k in keys})
    write_json(os.path.join(out_dir, "ops.json"), index)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


def copy(source, target):
    """Copies a file, or the files of a folder, as ordinary writable files."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
        for name in sorted(os.listdir(source)):
            copy(os.path.join(source, name), os.path.join(target, name))
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("oracle")
    parser.add_argument("--out", default="tests/golden")
    parser.add_argument("--models", default="models")
    args = parser.parse_args()
    golden = os.path.join(args.oracle, "golden")
    qwen3 = os.path.join(args.out, "golden_qwen3")
    os.makedirs(qwen3, exist_ok=True)
    slim_cases(os.path.join(golden, "index.json"), args.out, lambda c: c["id"].startswith(CASES))
    slim_cases(os.path.join(args.oracle, "golden_qwen3", "index.json"), qwen3, lambda c: True)
    slim_ops(golden, args.out)
    for name in ("tokenizer_cases.json", "chat_template_cases.json"):
        copy(os.path.join(golden, name), os.path.join(args.out, name))
    copy(os.path.join(args.oracle, "golden_smollm2.json"),
         os.path.join(args.out, "golden_smollm2.json"))
    for name in TOKENIZER:
        copy(os.path.join(args.oracle, "tokenizer_real", name),
             os.path.join(args.out, "tokenizer_real", name))
    for name in ("tiny_qwen3", "tiny_qwen3_moe"):
        copy(os.path.join(args.oracle, name), os.path.join(args.out, name))
    copy(os.path.join(args.oracle, "tiny_omni"), os.path.join(args.models, "tiny-omni"))


if __name__ == "__main__":
    main()
