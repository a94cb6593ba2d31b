"""tools/check_layers.py finds each fault it is there for, and nothing in a clean tree."""
import importlib.util
import os
import subprocess
import tempfile
import unittest

TOOL = os.path.join(os.path.dirname(__file__), "..", "..", "tools", "check_layers.py")
SPEC = importlib.util.spec_from_file_location("check_layers", TOOL)
check_layers = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check_layers)


class CheckLayersTest(unittest.TestCase):
    def faults_of(self, files):
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                path = os.path.join(root, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
            return list(check_layers.faults(root))

    def test_clean_tree(self):
        self.assertEqual([], self.faults_of({
            "src/nn/linear.cpp": '#include "nn/linear.h"\n#include "tensor/ops.h"\n',
            "src/cli/run.cpp": '#include "tokenizer/tokenizer.h"\n#include <vector>\n',
            "src/backend/wgpu/reduce.cpp": 'run("softmax");\n',
            "src/backend/wgpu/kernels/softmax.wgsl": "//:include common\n",
            "src/backend/wgpu/kernels/common.wgsl": "fn f() {}\n",
        }))

    def test_include_that_points_up(self):
        found = self.faults_of({"src/tensor/ops.cpp": '#include "nn/linear.h"\n'})
        self.assertEqual(["src/tensor/ops.cpp: tensor includes nn, which is not below it"], found)

    def test_tokenizer_sees_only_base(self):
        found = self.faults_of({"src/tokenizer/bpe.cpp": '#include "tensor/ops.h"\n',
                                "src/weights/gguf.cpp": '#include "tokenizer/bpe.h"\n'})
        self.assertEqual(2, len(found))

    def test_device_branch_in_a_model(self):
        found = self.faults_of({"src/models/m.cpp": "if (x.device().kind() == k) {}\n"})
        self.assertIn("asks for the kind of device", found[0])

    def test_long_file(self):
        found = self.faults_of({"tests/base/a_test.cpp": "\n" * 801, "fuzz/fuzz_a.cpp": "\n" * 800})
        self.assertEqual(["tests/base/a_test.cpp: 801 lines, 800 is the limit"], found)

    def test_kernel_nobody_uses(self):
        found = self.faults_of({"src/backend/wgpu/a.cpp": 'run("used");\n',
                                "src/backend/wgpu/kernels/used.wgsl": "//:include gone\n",
                                "src/backend/wgpu/kernels/orphan.wgsl": "\n"})
        self.assertEqual(2, len(found))
        self.assertIn("gone", found[0])
        self.assertIn("orphan", found[1])

    def test_unknown_area(self):
        self.assertIn("no place", self.faults_of({"src/misc/a.cpp": "\n"})[0])

    def test_tracked_files_too_large(self):
        with tempfile.TemporaryDirectory() as root:
            with open(os.path.join(root, "big"), "wb") as f:
                f.truncate(check_layers.MAX_BYTES)
            subprocess.run(["git", "init", "-q", root], check=True)
            self.assertEqual([], list(check_layers.check_size(root)))
            subprocess.run(["git", "-C", root, "add", "big"], check=True)
            self.assertEqual(1, len(list(check_layers.check_size(root))))


if __name__ == "__main__":
    unittest.main()
