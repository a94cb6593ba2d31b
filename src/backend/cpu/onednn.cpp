#include "backend/cpu/onednn.h"

#include "base/error.h"
#include "base/shared_library.h"

#if defined(__x86_64__)

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "backend/cpu/onednn_api.h"

namespace candela::cpu {

namespace {

constexpr const char* kNames[] = {"libdnnl.so.3"};

// x rows and weight rows of one product: the result and what is repacked stay in the second cache.
constexpr int64_t kBlockRows = 128;
constexpr int64_t kBlockWeights = 2 * OneDnn::kUnit;
// Shapes whose code is kept. A model meets some dozens.
constexpr size_t kMaxShapes = 1024;

/// x [rows, n] times weights [weights, n] turned, whose rows lie `stride` numbers apart.
struct ProductShape {
  int64_t rows, weights, n, stride;
  auto key() const { return std::tie(rows, weights, n, stride); }
  bool operator<(const ProductShape& other) const { return key() < other.key(); }
};

/// The code for one shape. Holds no state of a computation, so that threads share it.
struct Product {
  Desc::Pointer x, weight, y;
  PrimitiveDesc::Pointer desc;
  Primitive::Pointer primitive;
  const dnnl_memory_desc* scratchpad;  // of desc

  Product(const OneDnnApi& api, dnnl_engine* engine, const ProductShape& shape)
      : x(matrix(api, shape.rows, shape.n, dnnl_bf16, {shape.n, 1})),
        weight(matrix(api, shape.n, shape.weights, dnnl_bf16, {1, shape.stride})),
        y(matrix(api, shape.rows, shape.weights, dnnl_f32, {shape.weights, 1})),
        desc(make_desc(api, engine)),
        primitive(Primitive::make(
            api.primitive_destroy,
            "make code for a product",
            [&](dnnl_primitive** out) { return api.primitive_create(out, desc.get()); })),
        scratchpad(api.query_md(desc.get(), dnnl_query_scratchpad_md, 0)) {}

 private:
  struct Strides {
    int64_t rows, columns;
  };

  static Desc::Pointer matrix(
      const OneDnnApi& api, int64_t rows, int64_t columns, dnnl_data_type_t type, Strides strides) {
    return Desc::make(api.desc_destroy, "describe a matrix", [&](dnnl_memory_desc** out) {
      const dnnl_dims_t dims = {rows, columns};
      const dnnl_dims_t steps = {strides.rows, strides.columns};
      return api.desc_create(out, 2, dims, type, steps);
    });
  }

  PrimitiveDesc::Pointer make_desc(const OneDnnApi& api, dnnl_engine* engine) const {
    const auto attributes =
        Attributes::make(api.attr_destroy, "describe a product",
                         [&](dnnl_primitive_attr** out) { return api.attr_create(out); });
    // Else the library keeps one for each thread that made code, and others must not run that.
    check(api.attr_scratchpad(attributes.get(), dnnl_scratchpad_mode_user), "describe a product");
    return PrimitiveDesc::make(api.primitive_desc_destroy, "describe a product",
                               [&](dnnl_primitive_desc** out) {
                                 return api.matmul_create(out, engine, x.get(), weight.get(),
                                                          nullptr, y.get(), attributes.get());
                               });
  }
};

/// Rows of a block whose shape repeats: of few rows multiples of 16, which is a matrix unit's
/// height, of many a few sizes.
int64_t padded(int64_t rows) {
  const int64_t step = rows <= 64 ? 16 : 32;
  return (rows + step - 1) / step * step;
}

/// OpenMP's number of threads for what the calling thread starts: one, as callers are the threads.
class OneThread {
 public:
  explicit OneThread(const OneDnnApi& api) : api_(api), before_(api.omp_threads()) {
    api_.set_omp_threads(1);
  }
  ~OneThread() { api_.set_omp_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  const OneDnnApi& api_;
  int before_;
};

}  // namespace

struct OneDnn::State {
  /// What one computation at a time needs for itself.
  struct Worker {
    Stream::Pointer stream;
    std::vector<BFloat16> x;
    std::vector<float> y;
    std::vector<std::byte> scratchpad;
  };

  explicit State(const std::string& path)
      : api(open_onednn(path)),
        engine(Engine::make(api.engine_destroy, "start", [&](dnnl_engine** out) {
          return api.engine_create(out, dnnl_cpu, 0);
        })) {}

  std::shared_ptr<const Product> product(const ProductShape& shape) {
    const std::lock_guard lock(mutex);
    const auto found = products.find(shape);
    if (found != products.end()) {
      return found->second;
    }
    if (products.size() >= kMaxShapes) {
      products.clear();
    }
    return products[shape] = std::make_shared<Product>(api, engine.get(), shape);
  }

  std::unique_ptr<Worker> take_worker() {
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty()) {
        std::unique_ptr<Worker> worker = std::move(idle.back());
        idle.pop_back();
        return worker;
      }
    }
    auto worker = std::make_unique<Worker>();
    worker->stream = Stream::make(api.stream_destroy, "start", [&](dnnl_stream** out) {
      return api.stream_create(out, engine.get(), dnnl_stream_default_flags);
    });
    return worker;
  }

  void give_back(std::unique_ptr<Worker> worker) {
    const std::lock_guard lock(mutex);
    idle.push_back(std::move(worker));
  }

  Memory::Pointer memory(const dnnl_memory_desc* desc, void* data) const {
    return Memory::make(api.memory_destroy, "hold a matrix", [&](dnnl_memory** out) {
      return api.memory_create(out, desc, engine.get(), data);
    });
  }

  /// worker.y = x times the weight rows at `weight`.
  void run(Worker& worker, const BFloat16* x, const std::byte* weight, const ProductShape& shape) {
    const std::shared_ptr<const Product> code = product(shape);
    worker.y.resize(static_cast<size_t>(shape.rows * shape.weights));
    worker.scratchpad.resize(code->scratchpad == nullptr ? 0 : api.desc_size(code->scratchpad));
    // It only reads what it is given as source and weights.
    const auto from = memory(code->x.get(), const_cast<BFloat16*>(x));
    const auto by = memory(code->weight.get(), const_cast<std::byte*>(weight));
    const auto to = memory(code->y.get(), worker.y.data());
    std::vector<dnnl_exec_arg_t> arguments = {
        {DNNL_ARG_SRC, from.get()}, {DNNL_ARG_WEIGHTS, by.get()}, {DNNL_ARG_DST, to.get()}};
    Memory::Pointer scratch(nullptr, {api.memory_destroy});
    if (!worker.scratchpad.empty()) {
      scratch = memory(code->scratchpad, worker.scratchpad.data());
      arguments.push_back({DNNL_ARG_SCRATCHPAD, scratch.get()});
    }
    check(api.execute(code->primitive.get(), worker.stream.get(),
                      static_cast<int>(arguments.size()), arguments.data()),
          "multiply");
  }

  const OneDnnApi api;
  const Engine::Pointer engine;
  std::mutex mutex;  // of what follows
  std::map<ProductShape, std::shared_ptr<const Product>> products;
  std::vector<std::unique_ptr<Worker>> idle;
};

namespace {

/// `rows` rows of n numbers without gaps, zeros where x has fewer: x itself if it lies so.
const BFloat16* gapless_rows(std::span<const BFloat16* const> x,
                             int64_t n,
                             int64_t rows,
                             std::vector<BFloat16>& buffer) {
  bool lies_so = static_cast<int64_t>(x.size()) == rows;
  for (size_t i = 1; lies_so && i < x.size(); ++i) {
    lies_so = x[i] == x[i - 1] + n;
  }
  if (lies_so) {
    return x.front();
  }
  buffer.assign(static_cast<size_t>(rows * n), BFloat16{});
  for (size_t i = 0; i < x.size(); ++i) {
    std::copy_n(x[i], n, buffer.data() + static_cast<int64_t>(i) * n);
  }
  return buffer.data();
}

/// How many of `count` weight rows of n numbers, from `first` on, lie in equal steps, and the step.
std::pair<int64_t, int64_t> even_run(const WeightRows& weight,
                                     int64_t first,
                                     int64_t count,
                                     int64_t n) {
  constexpr auto kBytes = static_cast<int64_t>(sizeof(BFloat16));
  const auto step = [&](int64_t i) { return weight.row(first + i) - weight.row(first + i - 1); };
  if (count == 1 || step(1) < n * kBytes || step(1) % kBytes != 0) {
    return {1, n};
  }
  int64_t run = 2;
  while (run < count && step(run) == step(1)) {
    ++run;
  }
  return {run, step(1) / kBytes};
}

}  // namespace

OneDnn::OneDnn(const std::string& path) {
  std::string file = path;
  if (file.empty()) {
    const std::vector<std::string> found = find_libraries("onednn", kNames);
    if (found.empty()) {
      fail(ErrorKind::Unavailable, Subject::Device,
           "oneDNN ({}) lies neither beside the program, nor in ../lib or .deps/onednn/lib; run "
           "scripts/setup, or give --onednn off or the path of the library.",
           kNames[0]);
    }
    file = found.front();
  }
  state_ = std::make_unique<State>(file);
  (void)state_->product({16, kUnit, 64, 64});  // fails where it has no such products
}

OneDnn::~OneDnn() = default;

bool OneDnn::processor_has_amx() {
  return __builtin_cpu_supports("amx-bf16") != 0;
}

bool OneDnn::is_found() {
  return !find_libraries("onednn", kNames).empty();
}

std::string OneDnn::name() const {
  const dnnl_version_t* version = state_->api.version();
  const bool amx = state_->api.effective_isa() >= dnnl_cpu_isa_avx512_core_amx;
  return fmt::format("oneDNN {}.{}.{}{}", version->major, version->minor, version->patch,
                     amx ? " with AMX" : "");
}

void OneDnn::multiply(std::span<const BFloat16* const> x,
                      int64_t n,
                      const WeightRows& weight,
                      int64_t first,
                      int64_t count,
                      int64_t column,
                      const DotOutput& y) const {
  const OneThread one(state_->api);
  std::unique_ptr<State::Worker> worker = state_->take_worker();
  for (size_t top = 0; top < x.size(); top += kBlockRows) {
    const auto rows = x.subspan(top, std::min<size_t>(kBlockRows, x.size() - top));
    const int64_t height = padded(static_cast<int64_t>(rows.size()));
    const BFloat16* from = gapless_rows(rows, n, height, worker->x);
    for (int64_t o = 0; o < count;) {
      const auto [run, stride] = even_run(weight, first + o, std::min(kBlockWeights, count - o), n);
      state_->run(*worker, from, weight.row(first + o), {height, run, n, stride});
      for (size_t i = 0; i < rows.size(); ++i) {
        const float* line = worker->y.data() + static_cast<int64_t>(i) * run;
        float* to = y.rows[top + i] + (column + o) * y.step;
        for (int64_t j = 0; j < run; ++j) {
          to[j * y.step] = line[j];
        }
      }
      o += run;
    }
  }
  state_->give_back(std::move(worker));
}

}  // namespace candela::cpu

#else

namespace candela::cpu {

struct OneDnn::State {};

OneDnn::OneDnn(const std::string&) {
  fail(ErrorKind::Unavailable, Subject::Device,
       "candela uses oneDNN on x86-64 only; give --onednn off.");
}

OneDnn::~OneDnn() = default;

bool OneDnn::processor_has_amx() {
  return false;
}

bool OneDnn::is_found() {
  return false;
}

std::string OneDnn::name() const {
  return "oneDNN";
}

void OneDnn::multiply(std::span<const BFloat16* const>,
                      int64_t,
                      const WeightRows&,
                      int64_t,
                      int64_t,
                      int64_t,
                      const DotOutput&) const {}

}  // namespace candela::cpu

#endif
