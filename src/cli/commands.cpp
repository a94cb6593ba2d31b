#include "cli/command.h"

namespace candela::cli {

namespace {

const Command kCommands[] = {
    {"run", "one answer and exit: the text on stdout, everything else on stderr", setup_run},
    {"chat", "talk to a model; /help lists what can be typed", setup_chat},
    {"info", "what a checkpoint or config holds: parts, parameters, memory plan", setup_info},
    {"verify", "check every tensor of a checkpoint: names, shapes, values", setup_verify},
    {"tokenize", "text to token ids and back, chat templates", setup_tokenize},
    {"devices", "adapters with their limits and features", setup_devices},
    {"doctor", "run every op on your GPU and compare it with the CPU", setup_doctor},
    {"bench", "measure prefill and decode, with real or random weights", setup_bench},
    {"trace", "write intermediate tensors of a model or op as safetensors", setup_trace},
};

}  // namespace

std::span<const Command> commands() { return kCommands; }

}  // namespace candela::cli
