#include "tokenizer/support.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace candela::test {

namespace fs = std::filesystem;

namespace {

/// The first of `name` under the set-up's folder and `oracle_name` under $CANDELA_ORACLE.
fs::path first_of(const fs::path& own, const char* oracle_name) {
  const char* oracle = std::getenv("CANDELA_ORACLE");
  if (fs::exists(own) || oracle == nullptr) {
    return own;
  }
  return fs::path(oracle) / oracle_name;
}

}  // namespace

fs::path golden_dir() {
  const char* folder = std::getenv("CANDELA_GOLDEN");
  return folder != nullptr ? folder : CANDELA_GOLDEN_DIR;
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error("cannot open " + path.string());
  }
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

nlohmann::ordered_json golden_json(const std::string& name) {
  return nlohmann::ordered_json::parse(read_text(golden_dir() / name));
}

nlohmann::ordered_json golden_list(const std::string& name, const char* key) {
  nlohmann::ordered_json list = golden_json(name)[key];
  EXPECT_FALSE(list.empty()) << name;
  return list;
}

fs::path tiny_omni_dir() {
  return first_of(CANDELA_TINY_OMNI_DIR, "tiny_omni");
}

TempFolder::TempFolder() {
  std::string name = (fs::temp_directory_path() / "candela-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    throw std::runtime_error("cannot make a temporary folder");
  }
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

const fs::path& TempFolder::with(const std::string& name, std::string_view text) const {
  std::ofstream(path_ / name, std::ios::binary) << text;
  return path_;
}

void TempFolder::copy_tiny(const std::string& name) const {
  with(name, read_text(tiny_omni_dir() / name));
}

const Tokenizer& real_tokenizer() {
  static const Tokenizer kTokenizer = [] {
    const fs::path folder = first_of(fs::path(CANDELA_DEPS_DIR) / "tokenizer", "tokenizer_real");
    TempFolder temp;
    fs::create_symlink(folder / "tokenizer.json", temp.path() / "tokenizer.json");
    nlohmann::json added;
    int id = 151669;
    for (const char* text : {"<|audio_start|>", "<|audio_end|>", "<tts_pad>", "<tts_text_bos>",
                             "<tts_text_eod>", "<tts_text_bos_single>", "<|audio_pad|>"}) {
      added[std::to_string(id++)] = {{"content", text}, {"special", true}};
    }
    const nlohmann::json config = {{"added_tokens_decoder", added}, {"eos_token", "<|im_end|>"}};
    return Tokenizer::from_folder(temp.with("tokenizer_config.json", config.dump()));
  }();
  return kTokenizer;
}

Error error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos) << error.what();
    return error;
  }
  ADD_FAILURE() << "no error was thrown";
  return Error(ErrorKind::Internal, Subject::Model, "no error");
}

}  // namespace candela::test
