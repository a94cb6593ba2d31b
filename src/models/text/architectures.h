#pragma once

#include "models/model.h"

/// The plain text architectures: each is a setting of TextConfig and a place where tensors lie.
namespace candela::models {

TextConfig qwen3_config(const ModelFiles& files);
TextConfig qwen3_moe_config(const ModelFiles& files);
TextConfig llama_config(const ModelFiles& files);
TextConfig gguf_llama_config(const ModelFiles& files);

std::unique_ptr<Model> load_qwen3(const ModelFiles& files, const Weights& weights);
std::unique_ptr<Model> load_qwen3_moe(const ModelFiles& files, const Weights& weights);
std::unique_ptr<Model> load_llama(const ModelFiles& files, const Weights& weights);
std::unique_ptr<Model> load_gguf_llama(const ModelFiles& files, const Weights& weights);

}  // namespace candela::models
