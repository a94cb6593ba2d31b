#include "tensor/call.h"
#include "tensor/ops.h"

namespace candela {

namespace {

// Blocks are read by rows only, so a quantised table must be whole.
void require_table(const Call& call, const Tensor& table) {
  if (table.rank() == 0) {
    call.invalid("a scalar has no rows");
  }
  if (is_quantized(table.dtype()) && !table.is_contiguous()) {
    call.unsupported("a quantised table has to be contiguous");
  }
}

void require_index(const Call& call, const Tensor& x, const Tensor& index, int axis) {
  call.require_dtype(index, DType::U32);
  call.require_rank(index, x.rank());
  for (int i = 0; i < x.rank(); ++i) {
    if (i != axis && index.dim(i) > x.dim(i)) {
      call.invalid("axis {} of the index is longer than that of x", i);
    }
  }
}

// x cut to the index in all axes but one.
Tensor cut_to(const Tensor& x, const Tensor& index, int axis) {
  Tensor out = x;
  for (int i = 0; i < x.rank(); ++i) {
    if (i != axis && x.dim(i) != index.dim(i)) {
      out = out.narrow(i, 0, index.dim(i));
    }
  }
  return out;
}

}  // namespace

Tensor embedding(const Tensor& table, const Tensor& ids) {
  const Call call("embedding", {{"table", &table}, {"ids", &ids}});
  require_table(call, table);
  call.require_dtype(ids, DType::U32);
  if (is_integer(table.dtype())) {
    call.unsupported("the table is {}; use index_select for integers", dtype_name(table.dtype()));
  }
  if (ids.rank() + table.rank() - 1 > kMaxRank) {
    call.invalid("the result would have more than {} dimensions", kMaxRank);
  }
  std::vector<int64_t> shape(ids.shape().dims().begin(), ids.shape().dims().end());
  std::vector<int64_t> flat = {ids.elements()};
  for (int axis = 1; axis < table.rank(); ++axis) {
    shape.push_back(table.dim(axis));
    flat.push_back(table.dim(axis));
  }
  const Tensor y = call.output(Shape(flat));
  call.backend().gather_rows(table.view(), ids.flatten().view(), y.view());
  return y.reshape(Shape(shape));
}

Tensor index_select(const Tensor& x, int axis, const Tensor& ids) {
  const Call call("index_select", {{"x", &x}, {"ids", &ids}});
  const int at = call.axis(axis, x);
  call.require_dtype(ids, DType::U32);
  call.require_rank(ids, 1);
  if (is_quantized(x.dtype())) {
    call.unsupported("blocks cannot be selected; embedding reads quantised rows");
  }
  const Tensor rows = x.transpose(0, at);
  Shape shape = rows.shape();
  shape[0] = ids.dim(0);
  const Tensor y = call.output(shape, x.dtype());
  call.backend().gather_rows(rows.view(), ids.view(), y.view());
  return y.transpose(0, at);
}

Tensor gather(const Tensor& x, int axis, const Tensor& index) {
  const Call call("gather", {{"x", &x}, {"index", &index}});
  const int at = call.axis(axis, x);
  require_index(call, x, index, at);
  if (is_quantized(x.dtype())) {
    call.unsupported("blocks cannot be gathered; convert them with to_dtype");
  }
  const Tensor y = call.output(index.shape(), x.dtype());
  call.backend().gather(cut_to(x, index, at).view(), at, index.view(), y.view());
  return y;
}

Tensor scatter_add(const Tensor& x, int axis, const Tensor& index, const Tensor& src) {
  const Call call("scatter_add", {{"x", &x}, {"index", &index}, {"src", &src}});
  const int at = call.axis(axis, x);
  require_index(call, x, index, at);
  call.require_shape(src, index.shape());
  const Tensor added = as_f32(call, src);
  call.require_float(x);
  const Tensor y = call.output(x.shape());
  y.copy_from(x);
  call.backend().scatter_add(added.view(), at, index.view(), cut_to(y, index, at).view());
  return y;
}

void write_rows(const Tensor& x, const Tensor& ids, const Tensor& src) {
  const Call call("write_rows", {{"x", &x}, {"ids", &ids}, {"src", &src}});
  call.axis(0, x);
  call.require_dtype(ids, DType::U32);
  call.require_rank(ids, 1);
  Shape expected = x.shape();
  expected[0] = ids.dim(0);
  call.require_shape(src, expected);
  if (is_quantized(x.dtype()) || is_quantized(src.dtype())) {
    call.unsupported("blocks cannot be written");
  }
  call.backend().write_rows(src.view(), ids.view(), x.view());
}

}  // namespace candela
