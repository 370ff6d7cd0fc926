#include "products.h"

#include <dlfcn.h>

#include <algorithm>
#include <string>

#include "pool.h"
#include "tensorflow/c/tf_status.h"

namespace gqa {

const Products* Products::shared() {
  static const Products* one = load();
  return one;
}

const Products* Products::load() {
  Dl_info tensorflow;
  if (dladdr(reinterpret_cast<void*>(&TF_NewStatus), &tensorflow) == 0) return nullptr;
  std::string place = tensorflow.dli_fname;
  place = place.substr(0, place.rfind('/') + 1) + "../scipy_openblas32/lib/libscipy_openblas.so";
  void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  auto sgemm = reinterpret_cast<Sgemm>(dlsym(library, "scipy_cblas_sgemm"));
  auto useThreads = reinterpret_cast<void (*)(int)>(dlsym(library, "scipy_openblas_set_num_threads"));
  if (sgemm == nullptr || useThreads == nullptr) return nullptr;
  useThreads(1);
  return new Products(sgemm);
}

void Products::multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, const float* a, const float* b,
                        float* c) const {
  constexpr int ROWS_FIRST = 101, AS_IT_IS = 111, TRANSPOSED = 112;  // as cblas.h has them
  constexpr int64_t UNIT = 16, ENOUGH = 1 << 20;                     // rows or columns, and multiplications, of a part
  // Along the longer side, two parts a thread: who is held up by another operation leaves one to the others.
  const bool byRows = m >= n;
  const int64_t length = byRows ? m : n, units = (length + UNIT - 1) / UNIT;
  const int64_t most = std::min(units, m * n * k / ENOUGH);
  const int parts = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(most, 2 * Pool::shared().size())));
  Pool::shared().run(parts, [&](int part) {
    const int64_t from = units * part / parts * UNIT, to = std::min(length, units * (part + 1) / parts * UNIT);
    const int64_t row = byRows ? from : 0, column = byRows ? 0 : from;
    sgemm_(ROWS_FIRST, transposeA ? TRANSPOSED : AS_IT_IS, transposeB ? TRANSPOSED : AS_IT_IS,
           static_cast<int>(byRows ? to - from : m), static_cast<int>(byRows ? n : to - from), static_cast<int>(k), 1.f,
           a + (transposeA ? row : row * k), static_cast<int>(transposeA ? m : k),
           b + (transposeB ? column * k : column), static_cast<int>(transposeB ? k : n), 0.f, c + row * n + column,
           static_cast<int>(n));
  });
}

}  // namespace gqa
