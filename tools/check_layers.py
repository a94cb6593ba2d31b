"""Checks the rules of the source tree that a compiler does not know.

    python3 tools/check_layers.py [ROOT]

1. Includes point down the layers: cli, engine, models, nn, weights, tensor, backend, base; tokenizer
   and bridge see only base and are seen by models and above; parity sees tensor, cli sees it.
2. nn and models do not ask which device they run on.
3. No source file has more than 800 lines.
4. Every WGSL kernel is named in a .cpp of the WebGPU backend, or included by a kernel that is.
5. All tracked files together stay under 24 MB.

Prints one line a fault; exit status 1 when there is one.
"""
import os
import re
import subprocess
import sys

LAYERS = ["base", "backend", "tensor", "weights", "nn", "models", "engine", "cli"]
# area -> areas that it may include, itself aside
BESIDE = {"bridge": {"base"}, "tokenizer": {"base", "bridge"},
          "parity": {"base", "backend", "tensor"}}
SEEN_BY = {"models": {"tokenizer"}, "engine": {"tokenizer"}, "cli": {"tokenizer", "parity"}}
DEVICE_FREE = ("nn", "models")
MAX_LINES = 800
MAX_BYTES = 24_000_000
SOURCE_FOLDERS = ("src", "tests", "bench", "fuzz", "examples")
SOURCE_ENDS = (".h", ".cpp", ".def", ".wgsl", ".rs", ".py")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([a-z_0-9]+)/', re.M)
KIND = re.compile(r"(\.|->)kind\(\)|DeviceKind::")
WGSL_INCLUDE = re.compile(r"^\s*//:include\s+(\w+)", re.M)


def allowed(area):
    """The areas whose headers a file of `area` may include."""
    if area in BESIDE:
        return BESIDE[area] | {area}
    return set(LAYERS[:LAYERS.index(area) + 1]) | SEEN_BY.get(area, set())


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def files_below(folder, ends):
    for base, dirs, names in os.walk(folder):
        dirs[:] = sorted(d for d in dirs if d not in ("target", "golden", "corpus"))
        for name in sorted(names):
            if name.endswith(ends):
                yield os.path.join(base, name)


def check_includes(root):
    areas = set(LAYERS) | set(BESIDE)
    src = os.path.join(root, "src")
    for area in sorted(areas):
        for path in files_below(os.path.join(src, area), (".h", ".cpp", ".def")):
            text = read(path)
            name = os.path.relpath(path, root)
            for target in INCLUDE.findall(text):
                if target in areas and target not in allowed(area):
                    yield f"{name}: {area} includes {target}, which is not below it"
            if area in DEVICE_FREE and KIND.search(text):
                yield f"{name}: {area} asks for the kind of device; let a backend decide"
    for name in sorted(os.listdir(src)) if os.path.isdir(src) else []:
        if os.path.isdir(os.path.join(src, name)) and name not in areas:
            yield f"src/{name}: this area has no place in the layers of tools/check_layers.py"


def check_lengths(root):
    for folder in SOURCE_FOLDERS:
        for path in files_below(os.path.join(root, folder), SOURCE_ENDS):
            lines = read(path).count("\n")
            if lines > MAX_LINES:
                yield f"{os.path.relpath(path, root)}: {lines} lines, {MAX_LINES} is the limit"


def check_kernels(root):
    wgpu = os.path.join(root, "src", "backend", "wgpu")
    kernels = {os.path.basename(p)[:-5]: read(p)
               for p in files_below(os.path.join(wgpu, "kernels"), (".wgsl",))}
    text = "".join(read(p) for p in files_below(wgpu, (".cpp", ".h")))
    # kernel.def-like tables name a kernel as an identifier, code as a string.
    used = {k for k in kernels if re.search(rf'"{k}"|CANDELA_KERNEL\(\s*{k}\b', text)}
    todo = sorted(used)
    while todo:
        for name in WGSL_INCLUDE.findall(kernels[todo.pop()]):
            if name not in kernels:
                yield f"kernels: //:include {name}, but there is no {name}.wgsl"
            elif name not in used:
                used.add(name)
                todo.append(name)
    for name in sorted(set(kernels) - used):
        yield f"src/backend/wgpu/kernels/{name}.wgsl: no .cpp of the backend names this kernel"


def check_size(root):
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, check=False)
    if listed.returncode != 0:
        return  # an unpacked archive has no list of tracked files
    paths = [os.path.join(root, p) for p in listed.stdout.decode().split("\0") if p]
    total = sum(os.path.getsize(p) for p in paths if os.path.isfile(p))
    if total >= MAX_BYTES:
        yield f"tracked files: {total} bytes together, {MAX_BYTES} is the limit"


def faults(root):
    for check in (check_includes, check_lengths, check_kernels, check_size):
        yield from check(root)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..")
    found = list(faults(os.path.abspath(root)))
    for line in found:
        print(line)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
