#include "cli/command.h"

namespace candela::cli {

namespace {

const Command kCommands[] = {
    {"run", "one answer and exit: the text on stdout, everything else on stderr",
     "  candela run MODEL \"Why is the sky blue?\"\n"
     "  echo \"Why?\" | candela run Org/Name - --system @rules.txt -n 200\n"
     "  candela run MODEL -f question.txt --json | jq .usage\n",
     setup_run},
    {"chat", "talk to a model; /help lists what can be typed",
     "  candela chat MODEL --system \"You are brief.\"\n"
     "  candela chat MODEL < questions.txt\n",
     setup_chat},
    {"info", "what a checkpoint or config holds: parts, parameters, memory plan",
     "  candela info MODEL -c 32768 --parallel 2\n"
     "  candela info --config config.json --json\n",
     setup_info},
    {"verify", "check every tensor of a checkpoint: names, shapes, values",
     "  candela verify MODEL\n", setup_verify},
    {"tokenize", "text to token ids and back, chat templates",
     "  candela tokenize MODEL \"Hello, world!\"\n"
     "  candela tokenize MODEL --decode 9707 11 1879 0\n"
     "  candela tokenize MODEL --jsonl < lines.jsonl\n",
     setup_tokenize},
    {"devices", "adapters with their limits and features",
     "  candela devices\n"
     "  candela devices --webgpu wgpu-native --json\n",
     setup_devices},
    {"doctor", "run every op on your GPU and compare it with the CPU",
     "  candela doctor\n"
     "  candela doctor --device wgpu:1 --only matmul/ -v\n",
     setup_doctor},
    {"bench", "measure prefill and decode, with real or random weights",
     "  candela bench MODEL\n"
     "  candela bench --synthetic config.json --json\n",
     setup_bench},
    {"trace", "write intermediate tensors of a model or op as safetensors",
     "  candela trace MODEL --index index.json --case text. -o traces\n"
     "  candela trace --ops ops.json -o traces --device wgpu\n",
     setup_trace},
    {"completion", "a script with which a shell completes commands and flags",
     "  candela completion bash > ~/.local/share/bash-completion/completions/candela\n"
     "  candela completion fish > ~/.config/fish/completions/candela.fish\n"
     "  candela completion zsh > FOLDER/_candela, where FOLDER stands in $fpath\n",
     setup_completion},
};

}  // namespace

std::span<const Command> commands() {
  return kCommands;
}

}  // namespace candela::cli
