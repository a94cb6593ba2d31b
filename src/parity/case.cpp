#include "parity/case.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "tensor/compare.h"

namespace candela::parity {

namespace {

Tensors run_on(const Case& what, const Hosts& hosts, const Device& device) {
  Tensors inputs;
  inputs.reserve(hosts.size());
  for (const Host& host : hosts) {
    inputs.push_back(to_tensor(host, device));
  }
  return what.run(inputs, device);
}

// Empty if the values are within the bound.
std::string judge(const Numbers& actual, const Numbers& expected, const Bound& bound) {
  if (actual.size() != expected.size()) {
    return fmt::format("{} elements instead of {}", actual.size(), expected.size());
  }
  const Difference apart = difference(actual, expected);
  if (apart.nmse <= bound.nmse && apart.max_over_rms <= bound.max_over_rms) {
    return {};
  }
  const int64_t first = first_difference(actual, expected, {bound.relative, bound.absolute});
  if (first < 0) {
    return {};
  }
  const auto at = static_cast<size_t>(first);
  return fmt::format("{}; first: {} instead of {} at {}", to_string(apart), actual[at],
                     expected[at], first);
}

std::string judge_all(const Case& what, const Device& device, const Bound& bound) {
  const Hosts hosts = what.inputs();
  std::vector<Numbers> expected;
  if (what.reference) {
    expected = what.reference(hosts);
  } else {
    for (const Tensor& tensor : run_on(what, hosts, Device::cpu())) {
      expected.push_back(values_of(tensor));
    }
  }
  const Tensors actual = run_on(what, hosts, device);
  if (actual.size() != expected.size()) {
    return fmt::format("{} outputs instead of {}", actual.size(), expected.size());
  }
  for (size_t i = 0; i < actual.size(); ++i) {
    const std::string text = judge(values_of(actual[i]), expected[i], bound);
    if (!text.empty()) {
      return fmt::format("output {}: {}", i, text);
    }
  }
  return {};
}

Table make_all() {
  Table table;
  add_elementwise(table);
  add_shape(table);
  add_reduce(table);
  add_index(table);
  add_linalg(table);
  add_conv(table);
  add_fused(table);
  add_attention(table);
  return table;
}

}  // namespace

const std::vector<Case>& all_cases() {
  static const Table kTable = make_all();
  return kTable;
}

Outcome run_case(const Case& what, const Device& device, Precision precision) {
  const auto start = std::chrono::steady_clock::now();
  Outcome outcome;
  Bound bound = what.bound;
  if (precision == Precision::Fast) {
    const Bound& fast = device.kind() == DeviceKind::Cpu ? kFastBf16 : kFastF16;
    bound.nmse = std::max(bound.nmse, fast.nmse);
    bound.max_over_rms = std::max(bound.max_over_rms, fast.max_over_rms);
  }
  try {
    outcome.message = judge_all(what, device, bound);
    outcome.status = outcome.message.empty() ? Outcome::Status::Passed : Outcome::Status::Failed;
  } catch (const Error& error) {
    outcome.message = error.what();
    outcome.status = error.kind() == ErrorKind::Unsupported ? Outcome::Status::Unsupported
                                                            : Outcome::Status::Failed;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  outcome.seconds = took.count();
  return outcome;
}

void add_with_layouts(Table& table, const Case& what) {
  table.push_back(what);
  constexpr std::pair<Placement, const char*> kPlacements[] = {
      {Placement::Transposed, "transposed"},
      {Placement::Offset, "offset"},
      {Placement::Repeated, "stride0"}};
  for (const auto& [placement, name] : kPlacements) {
    Case moved = what;
    moved.name += std::string("/") + name;
    moved.basic = false;
    moved.inputs = [inputs = what.inputs, placement = placement] {
      Hosts hosts = inputs();
      for (Host& host : hosts) {
        host = placed(std::move(host), placement);
      }
      return hosts;
    };
    table.push_back(std::move(moved));
  }
}

}  // namespace candela::parity
