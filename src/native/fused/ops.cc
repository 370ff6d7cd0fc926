// TensorFlow operations for what a ViT's step does besides matrix products, each one pass over memory: registered through
// TensorFlow's stable C API when this addon is loaded, which has to be before a graph that holds them. What they compute
// stands in loops.inc; here are their inputs, outputs, checks and threads. Sums over rows are added up in parts of fixed
// sizes, in order: the same numbers at every run with as many threads.
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "loops.h"
#include "pool.h"
#include "products.h"
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

// Of tensorflow/c/kernels_experimental.h, which includes headers that no package has.
extern "C" void TF_GetInputTensorFromVariable(TF_OpKernelContext* ctx, int input, bool lock_held, bool isVariantType,
                                              bool sparse,
                                              void (*copyFunc)(TF_OpKernelContext* ctx, TF_Tensor* source, TF_Tensor* dest),
                                              TF_Tensor** out, TF_Status* status);

namespace gqa {
namespace {

template <class T>
const Loops<T>& loops();

// The environment variable GQA_INSTRUCTIONS (avx2, avx512) bounds what is used, for tests and for equal numbers on
// machines that differ.
bool isAllowed(const char* instructions) {
  const char* most = std::getenv("GQA_INSTRUCTIONS");
  if (most == nullptr) return true;
  const bool avx512 = std::strcmp(instructions, "avx512") == 0;
  return avx512 && std::strcmp(most, "avx512") == 0;
}
bool hasAvx512() {
  static const bool has = isAllowed("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return has;
}
template <>
const Loops<float>& loops() {
  static const Loops<float>& best = hasAvx512() ? floatLoopsAvx512 : floatLoopsAvx2;
  return best;
}
// AMX, for bfloat16: the processor has it, and Linux lets this process use the tiles' state (since 5.16; oneDNN asks too).
bool hasAmx() {
  static const bool has = [] {
    unsigned a, b, c, d;
    if (!isAllowed("amx") || !hasAvx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    const bool tiles = (d >> 24 & 1) != 0 && (d >> 22 & 1) != 0;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d)) return false;
    const bool halves = (a >> 5 & 1) != 0;
    constexpr int ASK = 0x1023, TILE_DATA = 18;
    return tiles && halves && syscall(SYS_arch_prctl, ASK, TILE_DATA) == 0;
  }();
  return has;
}

// Whether the compiler knew the tiles as well.
bool usesAmx = false;

template <>
const Loops<bfloat16>& loops() {
  static const Loops<bfloat16> best = [] {
    Loops<bfloat16> found = hasAvx512() ? bfloat16LoopsAvx512 : bfloat16LoopsAvx2;
    usesAmx = hasAmx() && takeAmx(found);
    return found;
  }();
  return best;
}

// ------------------------------------------------------------------------------------------------ calls

using Dims = std::vector<int64_t>;

// One call of an operation: its tensors, and the first thing that was wrong, which the operation then fails with.
class Call {
 public:
  explicit Call(TF_OpKernelContext* context) : context_(context), status_(TF_NewStatus()) {}
  Call(const Call&) = delete;
  ~Call() {
    if (!ok()) TF_OpKernelContext_Failure(context_, status_);
    for (TF_Tensor* tensor : held_) TF_DeleteTensor(tensor);
    TF_DeleteStatus(status_);
  }
  bool ok() const { return TF_GetCode(status_) == TF_OK; }
  bool expect(bool what, const char* message) {
    if (ok() && !what) TF_SetStatus(status_, TF_INVALID_ARGUMENT, message);
    return ok();
  }
  Dims dims(int i) { return dimsOf(input(i)); }
  template <class T>
  const T* in(int i) {
    TF_Tensor* tensor = input(i);
    return tensor == nullptr ? nullptr : static_cast<const T*>(TF_TensorData(tensor));
  }
  int64_t count(int i) {
    TF_Tensor* tensor = input(i);
    return tensor == nullptr ? 0 : TF_TensorElementCount(tensor);
  }
  // `from`: an input of the same type whose memory is taken where nobody else needs it; −1: none
  template <class T>
  T* out(int i, const Dims& dims, int from = -1) {
    if (!ok()) return nullptr;
    int64_t size = sizeof(T);
    for (int64_t dim : dims) size *= dim;
    const int rank = static_cast<int>(dims.size());
    int forwarded = -1;
    TF_Tensor* tensor = from < 0
        ? TF_AllocateOutput(context_, i, TF_ExpectedOutputDataType(context_, i), dims.data(), rank, size, status_)
        : TF_ForwardInputOrAllocateOutput(context_, &from, 1, i, dims.data(), rank, &forwarded, status_);
    if (tensor == nullptr) return nullptr;
    held_.push_back(tensor);
    return static_cast<T*>(TF_TensorData(tensor));
  }
  // What a variable holds, to be changed in place; copied before where somebody still reads it.
  template <class T>
  T* variable(int i, int64_t count) {
    if (!ok()) return nullptr;
    TF_Tensor* tensor = nullptr;
    TF_GetInputTensorFromVariable(context_, i, false, false, false, copy, &tensor, status_);
    if (tensor == nullptr) return nullptr;
    held_.push_back(tensor);
    if (!expect(TF_TensorElementCount(tensor) == count, "a variable and its gradient differ in size")) return nullptr;
    return static_cast<T*>(TF_TensorData(tensor));
  }

 private:
  TF_Tensor* input(int i) {
    if (inputs_.size() <= static_cast<size_t>(i)) inputs_.resize(i + 1, nullptr);
    if (inputs_[i] == nullptr && ok()) {
      TF_GetInput(context_, i, &inputs_[i], status_);
      if (inputs_[i] != nullptr) held_.push_back(inputs_[i]);
    }
    return inputs_[i];
  }
  static Dims dimsOf(TF_Tensor* tensor) {
    Dims dims(tensor == nullptr ? 0 : TF_NumDims(tensor));
    for (size_t i = 0; i < dims.size(); i++) dims[i] = TF_Dim(tensor, static_cast<int>(i));
    return dims;
  }
  // Owns both tensors.
  static void copy(TF_OpKernelContext*, TF_Tensor* from, TF_Tensor* to) {
    std::memcpy(TF_TensorData(to), TF_TensorData(from), TF_TensorByteSize(from));
    TF_DeleteTensor(from);
    TF_DeleteTensor(to);
  }

  TF_OpKernelContext* context_;
  TF_Status* status_;
  std::vector<TF_Tensor*> inputs_, held_;
};

// Rows of the last axis.
struct Table {
  Dims dims;
  int64_t width, rows;
};
Table tableOf(Call& call, int i) {
  Table table{call.dims(i), 0, 0};
  if (!call.expect(!table.dims.empty() && table.dims.back() > 0, "an input has no rows")) return table;
  table.width = table.dims.back();
  table.rows = call.count(i) / table.width;
  return table;
}

// Elements that are worth a thread of their own.
constexpr int64_t ENOUGH = 16384;

int partsOf(int64_t rows, int64_t width) {
  return static_cast<int>(std::max<int64_t>(1, std::min<int64_t>({Pool::shared().size(), rows, rows * width / ENOUGH})));
}
Range rangeOf(int64_t rows, int part, int parts) { return {rows * part / parts, rows * (part + 1) / parts}; }

// f(range) on parts of the rows
template <class F>
void byRows(int64_t rows, int64_t width, F f) {
  const int parts = partsOf(rows, width);
  Pool::shared().run(parts, [&](int part) { f(rangeOf(rows, part, parts)); });
}

// f(range, sums): sums begin at 0, `lists` rows of width numbers each; added up over the parts into `to`
template <class F>
void summing(int64_t rows, int64_t width, std::initializer_list<float*> to, F f) {
  const int parts = partsOf(rows, width);
  const int64_t list = roundedUp(width), all = list * static_cast<int64_t>(to.size());
  std::vector<float> sums(all * parts, 0.f);
  Pool::shared().run(parts, [&](int part) { f(rangeOf(rows, part, parts), sums.data() + all * part); });
  int64_t at = 0;
  for (float* target : to) {
    for (int64_t j = 0; j < width; j++) {
      float sum = 0;
      for (int part = 0; part < parts; part++) sum += sums[all * part + at + j];
      target[j] = sum;
    }
    at += list;
  }
}

// ------------------------------------------------------------------------------------------------ operations

struct None {};

struct Norm {
  float epsilon;
};

// x, gain, bias → y, stats
template <class T>
void norm(const Norm& options, Call& call) {
  const Table t = tableOf(call, 0);
  if (!call.expect(call.count(1) == t.width && call.count(2) == t.width, "gain and bias are of another width")) return;
  auto *x = call.in<float>(0), *gain = call.in<float>(1), *bias = call.in<float>(2);
  T* y = call.out<T>(0, t.dims);
  float* stats = call.out<float>(1, {t.rows, 2});
  if (!call.ok()) return;
  byRows(t.rows, t.width, [&](Range rows) { loops<T>().norm(rows, t.width, x, gain, bias, options.epsilon, y, stats); });
}

template <class T>
constexpr int takenFrom(int input) {
  return sizeof(T) == sizeof(float) ? input : -1;
}

// dy, x, gain, stats → dx, dgain, dbias
template <class T>
void normGrad(const None&, Call& call) {
  const Table t = tableOf(call, 1);
  if (!call.expect(call.count(0) == call.count(1) && call.count(2) == t.width && call.count(3) == 2 * t.rows, "sizes differ")) return;
  auto* dy = call.in<T>(0);
  auto *x = call.in<float>(1), *gain = call.in<float>(2), *stats = call.in<float>(3);
  float *dx = call.out<float>(0, t.dims, takenFrom<T>(0)), *dgain = call.out<float>(1, {t.width}), *dbias = call.out<float>(2, {t.width});
  if (!call.ok()) return;
  summing(t.rows, t.width, {dgain, dbias}, [&](Range rows, float* sums) {
    loops<T>().normGrad(rows, t.width, dy, x, gain, stats, dx, sums, sums + roundedUp(t.width));
  });
}

// z, bias → y
template <class T>
void biasGelu(const None&, Call& call) {
  const Table t = tableOf(call, 0);
  if (!call.expect(call.count(1) == t.width, "the bias is of another width")) return;
  auto* z = call.in<T>(0);
  auto* bias = call.in<float>(1);
  T* y = call.out<T>(0, t.dims, 0);
  if (!call.ok()) return;
  byRows(t.rows, t.width * 2, [&](Range rows) { loops<T>().biasGelu(rows, t.width, z, bias, y); });
}

// dy, z, bias → dz, dbias
template <class T>
void biasGeluGrad(const None&, Call& call) {
  const Table t = tableOf(call, 1);
  if (!call.expect(call.count(0) == call.count(1) && call.count(2) == t.width, "sizes differ")) return;
  auto *dy = call.in<T>(0), *z = call.in<T>(1);
  auto* bias = call.in<float>(2);
  T* dz = call.out<T>(0, t.dims, 0);
  float* dbias = call.out<float>(1, {t.width});
  if (!call.ok()) return;
  summing(t.rows, t.width, {dbias}, [&](Range rows, float* sums) { loops<T>().biasGeluGrad(rows, t.width, dy, z, bias, dz, sums); });
}

// x → sums of its columns
template <class T>
void columnSums(const None&, Call& call) {
  const Table t = tableOf(call, 0);
  if (!call.ok()) return;
  auto* x = call.in<T>(0);
  float* sums = call.out<float>(0, {t.width});
  if (!call.ok()) return;
  summing(t.rows, t.width, {sums}, [&](Range rows, float* of) { loops<T>().columnSums(rows, t.width, x, of); });
}

// x, r, bias → x + r + bias
template <class T>
void residual(const None&, Call& call) {
  const Table t = tableOf(call, 0);
  if (!call.expect(call.count(1) == call.count(0) && call.count(2) == t.width, "sizes differ")) return;
  auto *x = call.in<float>(0), *bias = call.in<float>(2);
  auto* r = call.in<T>(1);
  float* y = call.out<float>(0, t.dims, 0);
  if (!call.ok()) return;
  byRows(t.rows, t.width, [&](Range rows) { loops<T>().residual(rows, t.width, x, r, bias, y); });
}

// Moving averages and bfloat16 twins that a step has, 0 or 1 and 0 to 2.
struct Besides {
  int32_t averages, twins;
};

// variables: parameter, first, second, averages, twins of the parameter and of the average; gradient; [7] of AdamW
template <class T>
void adamw(const Besides& besides, Call& call) {
  const int gradientAt = 3 + besides.averages + besides.twins;
  const int64_t count = call.count(gradientAt);
  if (!call.expect(call.count(gradientAt + 1) == 7, "a step has seven numbers")) return;
  if (!call.expect(besides.averages <= 1 && besides.twins <= 1 + besides.averages, "too many variables")) return;
  Moved moved{};
  moved.target = call.variable<float>(0, count);
  moved.first = call.variable<float>(1, count);
  moved.second = call.variable<float>(2, count);
  if (besides.averages > 0) moved.average = call.variable<float>(3, count);
  if (besides.twins > 0) moved.lowTarget = call.variable<bfloat16>(3 + besides.averages, count);
  if (besides.twins > 1) moved.lowAverage = call.variable<bfloat16>(4 + besides.averages, count);
  const T* gradient = call.in<T>(gradientAt);
  const float* numbers = call.in<float>(gradientAt + 1);
  if (!call.ok()) return;
  AdamW step;
  std::memcpy(&step, numbers, sizeof step);
  // by blocks of 1,024, so that threads do not share lines
  byRows((count + 1023) / 1024, 1024, [&](Range blocks) {
    loops<T>().adamw({blocks.from * 1024, std::min(count, blocks.to * 1024)}, gradient, step, moved);
  });
}

struct Heads {
  int32_t batch, heads, keyHeads, valueHeads;
};

// Which heads belong together: those of one key head, those of one value head, and what these have in common.
struct Components {
  std::vector<int32_t> heads, keys, values;
  std::vector<Component> list;
  int mostKeys = 1, mostValues = 1;

  Components(const Heads& of, const int32_t* keyOf, const int32_t* valueOf) {
    std::vector<int32_t> key(of.keyHeads), value(of.valueHeads);
    for (int i = 0; i < of.keyHeads; i++) key[i] = i;
    for (int i = 0; i < of.valueHeads; i++) value[i] = of.keyHeads + i;
    for (bool moved = true; moved;) {
      moved = false;
      for (int h = 0; h < of.heads; h++) {
        int32_t &a = key[keyOf[h]], &b = value[valueOf[h]];
        if (a != b) {
          a = b = std::min(a, b);
          moved = true;
        }
      }
    }
    heads.reserve(of.heads);
    keys.reserve(of.keyHeads);
    values.reserve(of.valueHeads);
    for (int name = 0; name < of.keyHeads + of.valueHeads; name++) {
      const size_t h0 = heads.size(), k0 = keys.size(), v0 = values.size();
      for (int k = 0; k < of.keyHeads; k++) if (key[k] == name) keys.push_back(k);
      for (int v = 0; v < of.valueHeads; v++) if (value[v] == name) values.push_back(v);
      for (size_t k = k0; k < keys.size(); k++)
        for (int h = 0; h < of.heads; h++) if (keyOf[h] == keys[k]) heads.push_back(h);
      const Component found{heads.data() + h0, keys.data() + k0, values.data() + v0, static_cast<int>(heads.size() - h0),
                            static_cast<int>(keys.size() - k0), static_cast<int>(values.size() - v0)};
      if (found.keyCount + found.valueCount == 0) continue;
      list.push_back(found);
      mostKeys = std::max(mostKeys, found.keyCount);
      mostValues = std::max(mostValues, found.valueCount);
    }
  }
};

// A thread's own memory, which stays for the next call.
float* scratch(int64_t count) {
  static thread_local std::unique_ptr<float[]> memory;
  static thread_local int64_t size = 0;
  const int64_t wanted = count + 3 * WIDEST;
  if (size < wanted) {
    memory.reset(new float[wanted]);
    size = wanted;
  }
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.get()) + 63) & ~uintptr_t{63});
}

// Inputs from `first` on: q, k, v, their biases, keyOf, valueOf
template <class T>
Attention<T> attentionOf(const Heads& heads, Call& call, int first) {
  Attention<T> of{};
  const Dims q = call.dims(first), k = call.dims(first + 1), v = call.dims(first + 2);
  const auto fits = [&](const Dims& dims, int count) {
    return dims.size() == 2 && count > 0 && dims[1] % count == 0 && dims[1] / count == of.width && dims[0] % heads.batch == 0;
  };
  if (!call.expect(q.size() == 2 && heads.batch > 0 && heads.heads > 0, "q is [B·M, H·E]")) return of;
  of.width = static_cast<int>(q[1] / heads.heads);
  if (!call.expect(of.width > 0 && fits(q, heads.heads) && fits(k, heads.keyHeads) && fits(v, heads.valueHeads) && k[0] == v[0] && k[0] > 0,
                   "q, k and v do not fit their heads")) return of;
  if (!call.expect(call.count(first + 3) == q[1] && call.count(first + 4) == k[1] && call.count(first + 5) == v[1],
                   "biases do not fit q, k and v")) return of;
  if (!call.expect(call.count(first + 6) == heads.heads && call.count(first + 7) == heads.heads, "each head reads one key head and one value head")) return of;
  of.batch = heads.batch;
  of.heads = heads.heads;
  of.keyHeads = heads.keyHeads;
  of.valueHeads = heads.valueHeads;
  of.queries = static_cast<int>(q[0] / heads.batch);
  of.tokens = static_cast<int>(k[0] / heads.batch);
  of.q = call.in<T>(first);
  of.k = call.in<T>(first + 1);
  of.v = call.in<T>(first + 2);
  of.qBias = call.in<float>(first + 3);
  of.kBias = call.in<float>(first + 4);
  of.vBias = call.in<float>(first + 5);
  of.keyOf = call.in<int32_t>(first + 6);
  of.valueOf = call.in<int32_t>(first + 7);
  if (!call.ok()) return of;
  for (int h = 0; h < heads.heads; h++)
    call.expect(of.keyOf[h] >= 0 && of.keyOf[h] < heads.keyHeads && of.valueOf[h] >= 0 && of.valueOf[h] < heads.valueHeads,
                "a head reads a key or value head that is not there");
  return of;
}

template <class T>
void byImages(const Attention<T>& of, const Heads& heads, bool backward) {
  const Components components(heads, of.keyOf, of.valueOf);
  const int each = static_cast<int>(components.list.size());
  const int64_t floats = loops<T>().attendScratch(of.tokens, of.width, components.mostKeys, components.mostValues);
  Pool::shared().run(of.batch * each, [&](int part) {
    const Component& component = components.list[part % each];
    (backward ? loops<T>().attendGrad : loops<T>().attend)(of, part / each, component, scratch(floats));
  });
}

// q, k, v, biases, keyOf, valueOf → out, lse
template <class T>
void attention(const Heads& heads, Call& call) {
  Attention<T> of = attentionOf<T>(heads, call, 0);
  if (!call.ok()) return;
  of.out = call.out<T>(0, call.dims(0));
  of.lse = call.out<float>(1, {of.batch, of.heads, of.queries});
  if (call.ok()) byImages(of, heads, false);
}

// dOut, q, k, v, biases, keyOf, valueOf, out, lse → dq, dk, dv
template <class T>
void attentionGrad(const Heads& heads, Call& call) {
  Attention<T> of = attentionOf<T>(heads, call, 1);
  if (!call.ok()) return;
  if (!call.expect(call.count(0) == call.count(1) && call.count(9) == call.count(1) &&
                       call.count(10) == int64_t{of.batch} * of.heads * of.queries,
                   "sizes differ")) return;
  of.dOut = call.in<T>(0);
  of.out = const_cast<T*>(call.in<T>(9));
  of.lse = const_cast<float*>(call.in<float>(10));
  of.dq = call.out<T>(0, call.dims(1));
  of.dk = call.out<T>(1, call.dims(2));
  of.dv = call.out<T>(2, call.dims(3));
  if (call.ok()) byImages(of, heads, true);
}

struct Sides {
  unsigned char transposeA, transposeB;
};

// a, b → their product
void product(const Sides& of, Call& call) {
  const Dims a = call.dims(0), b = call.dims(1);
  if (!call.expect(a.size() == 2 && b.size() == 2, "a product is of two matrices")) return;
  const int64_t m = a[of.transposeA ? 1 : 0], k = a[of.transposeA ? 0 : 1], n = b[of.transposeB ? 0 : 1];
  if (!call.expect(b[of.transposeB ? 1 : 0] == k, "the matrices of a product do not fit")) return;
  if (!call.expect(std::max({m, n, k}) <= INT32_MAX, "a matrix is too large")) return;
  auto *x = call.in<float>(0), *y = call.in<float>(1);
  float* z = call.out<float>(0, {m, n});
  if (call.ok() && m * n > 0) Products::shared()->multiply(of.transposeA, of.transposeB, m, n, k, x, y, z);
}

// ------------------------------------------------------------------------------------------------ registration

// What an operation is built with: attributes by their names.
void read(TF_OpKernelConstruction* from, Norm& to, TF_Status* status) {
  TF_OpKernelConstruction_GetAttrFloat(from, "epsilon", &to.epsilon, status);
}
void read(TF_OpKernelConstruction*, None&, TF_Status*) {}
void read(TF_OpKernelConstruction* from, Sides& to, TF_Status* status) {
  TF_OpKernelConstruction_GetAttrBool(from, "transpose_a", &to.transposeA, status);
  if (TF_GetCode(status) == TF_OK) TF_OpKernelConstruction_GetAttrBool(from, "transpose_b", &to.transposeB, status);
}
void read(TF_OpKernelConstruction* from, Besides& to, TF_Status* status) {
  TF_OpKernelConstruction_GetAttrInt32(from, "A", &to.averages, status);
  if (TF_GetCode(status) == TF_OK) TF_OpKernelConstruction_GetAttrInt32(from, "W", &to.twins, status);
}
void read(TF_OpKernelConstruction* from, Heads& to, TF_Status* status) {
  const std::pair<const char*, int32_t*> all[] = {{"batch", &to.batch}, {"heads", &to.heads}, {"key_heads", &to.keyHeads}, {"value_heads", &to.valueHeads}};
  for (auto [name, value] : all)
    if (TF_GetCode(status) == TF_OK) TF_OpKernelConstruction_GetAttrInt32(from, name, value, status);
}

template <class Options>
void* make(TF_OpKernelConstruction* from) {
  auto* options = new Options{};
  TF_Status* status = TF_NewStatus();
  read(from, *options, status);
  if (TF_GetCode(status) != TF_OK) TF_OpKernelConstruction_Failure(from, status);
  TF_DeleteStatus(status);
  return options;
}

template <class Options, void (*BODY)(const Options&, Call&)>
void compute(void* options, TF_OpKernelContext* context) {
  Call call(context);
  BODY(*static_cast<Options*>(options), call);
}

template <class Options, void (*BODY)(const Options&, Call&)>
void kernel(const char* name, TF_DataType type) {
  TF_KernelBuilder* builder = TF_NewKernelBuilder(name, "CPU", make<Options>, compute<Options, BODY>,
                                                  [](void* options) { delete static_cast<Options*>(options); });
  TF_Status* status = TF_NewStatus();
  TF_KernelBuilder_TypeConstraint(builder, "T", type, status);
  TF_RegisterKernelBuilder(name, builder, status);
  TF_DeleteStatus(status);
}

// TensorFlow wants a function for shapes; shapes are known here where they are needed.
void op(const char* name, std::vector<const char*> inputs, std::vector<const char*> outputs,
        std::vector<const char*> attributes = {}, bool stateful = false) {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder(name);
  TF_OpDefinitionBuilderAddAttr(builder, "T: {float, bfloat16}");
  for (const char* each : attributes) TF_OpDefinitionBuilderAddAttr(builder, each);
  for (const char* each : inputs) TF_OpDefinitionBuilderAddInput(builder, each);
  for (const char* each : outputs) TF_OpDefinitionBuilderAddOutput(builder, each);
  TF_OpDefinitionBuilderSetIsStateful(builder, stateful);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, [](TF_ShapeInferenceContext* context, TF_Status* status) {
    TF_ShapeInferenceContextSetUnknownShape(context, status);
  });
  TF_Status* status = TF_NewStatus();
  TF_RegisterOpDefinition(builder, status);
  TF_DeleteStatus(status);
}

#define BOTH(NAME, OPTIONS, BODY)                    \
  kernel<OPTIONS, BODY<float>>(NAME, TF_FLOAT);      \
  kernel<OPTIONS, BODY<bfloat16>>(NAME, TF_BFLOAT16)

const bool registered = [] {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return false;
  const std::vector<const char*> heads = {"batch: int", "heads: int", "key_heads: int", "value_heads: int"};
  op("GqaNorm", {"x: float", "gain: float", "bias: float"}, {"y: T", "stats: float"}, {"epsilon: float"});
  op("GqaNormGrad", {"dy: T", "x: float", "gain: float", "stats: float"}, {"dx: float", "dgain: float", "dbias: float"});
  op("GqaBiasGelu", {"z: T", "bias: float"}, {"y: T"});
  op("GqaBiasGeluGrad", {"dy: T", "z: T", "bias: float"}, {"dz: T", "dbias: float"});
  op("GqaColumnSums", {"x: T"}, {"sums: float"});
  op("GqaResidual", {"x: float", "r: T", "bias: float"}, {"y: float"});
  op("GqaAdamW",
     {"target: resource", "first: resource", "second: resource", "averages: A * resource", "twins: W * resource", "gradient: T", "step: float"},
     {}, {"A: int >= 0", "W: int >= 0"}, true);
  op("GqaAttention", {"q: T", "k: T", "v: T", "q_bias: float", "k_bias: float", "v_bias: float", "key_of: int32", "value_of: int32"},
     {"out: T", "lse: float"}, heads);
  op("GqaAttentionGrad",
     {"d_out: T", "q: T", "k: T", "v: T", "q_bias: float", "k_bias: float", "v_bias: float", "key_of: int32", "value_of: int32", "out: T", "lse: float"},
     {"dq: T", "dk: T", "dv: T"}, heads);
  if (Products::shared() != nullptr) {
    op("GqaProduct", {"a: T", "b: T"}, {"product: T"}, {"transpose_a: bool", "transpose_b: bool"});
    kernel<Sides, product>("GqaProduct", TF_FLOAT);
  }
  BOTH("GqaNorm", Norm, norm);
  BOTH("GqaNormGrad", None, normGrad);
  BOTH("GqaBiasGelu", None, biasGelu);
  BOTH("GqaBiasGeluGrad", None, biasGeluGrad);
  BOTH("GqaColumnSums", None, columnSums);
  BOTH("GqaResidual", None, residual);
  BOTH("GqaAdamW", Besides, adamw);
  BOTH("GqaAttention", Heads, attention);
  BOTH("GqaAttentionGrad", Heads, attentionGrad);
  return true;
}();

}  // namespace
}  // namespace gqa

// { instructions: 'AVX-512 and AMX' | 'AVX-512' | 'AVX2' | null, threads, products }: null where the operations were not
// registered; products: whether GqaProduct was
#include <node_api.h>
extern "C" napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  using namespace gqa;
  napi_value instructions, threads, products;
  loops<bfloat16>();
  if (registered)
    napi_create_string_utf8(env, usesAmx ? "AVX-512 and AMX" : hasAvx512() ? "AVX-512" : "AVX2", NAPI_AUTO_LENGTH, &instructions);
  else
    napi_get_null(env, &instructions);
  napi_create_int32(env, Pool::threads(), &threads);
  napi_set_named_property(env, exports, "instructions", instructions);
  napi_get_boolean(env, registered && Products::shared() != nullptr, &products);
  napi_set_named_property(env, exports, "threads", threads);
  napi_set_named_property(env, exports, "products", products);
  return exports;
}
