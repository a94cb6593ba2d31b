#include "weights/near_names.h"

#include <algorithm>
#include <tuple>

namespace candela {

namespace {

/// Components ("a.b.c" has three) that two names have in common at their ends.
size_t common_tail(std::string_view a, std::string_view b) {
  const auto ends = std::mismatch(a.rbegin(), a.rend(), b.rbegin(), b.rend());
  const auto same = static_cast<size_t>(ends.first - a.rbegin());
  const std::string_view tail = a.substr(a.size() - same);
  const auto dots = static_cast<size_t>(std::count(tail.begin(), tail.end(), '.'));
  const bool starts_component = (same == a.size() || a[a.size() - same - 1] == '.') &&
                                (same == b.size() || b[b.size() - same - 1] == '.');
  return starts_component && !tail.starts_with('.') ? dots + 1 : dots;
}

size_t common_head(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                             a.begin());
}

}  // namespace

std::string near_names_hint(const std::vector<WeightInfo>& tensors, std::string_view wanted) {
  constexpr size_t kShown = 3;
  // "weight" alone is the tail of nearly everything.
  const size_t least = wanted.find('.') == wanted.npos ? 1 : 2;
  std::vector<std::tuple<size_t, size_t, const std::string*>> found;
  for (const WeightInfo& info : tensors) {
    const size_t tail = common_tail(info.name, wanted);
    if (tail >= least) {
      found.emplace_back(tail, common_head(info.name, wanted), &info.name);
    }
  }
  const size_t shown = std::min(kShown, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(shown), found.end(),
                    [](const auto& a, const auto& b) {
                      return std::tie(std::get<0>(a), std::get<1>(a)) >
                             std::tie(std::get<0>(b), std::get<1>(b));
                    });
  std::string text;
  for (size_t i = 0; i < shown; ++i) {
    text += (i == 0 ? "; similar: " : ", ") + *std::get<2>(found[i]);
  }
  return text;
}

}  // namespace candela
