// Matrix products by OpenBLAS, which set-up puts beside libtensorflow.
#pragma once

#include <cstdint>

namespace gqa {

class Products {
 public:
  // Null where the library is not there. Its threads are left aside: it multiplies parts in those of the pool.
  static const Products* shared();

  // c[m, n] = a · b, rows one after another; transposeA: a comes as [k, m], transposeB: b as [n, k]
  void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, const float* a, const float* b, float* c) const;

 private:
  using Sgemm = void (*)(int order, int transposeA, int transposeB, int m, int n, int k, float alpha, const float* a, int lda,
                         const float* b, int ldb, float beta, float* c, int ldc);
  explicit Products(Sgemm sgemm) : sgemm_(sgemm) {}
  static const Products* load();

  Sgemm sgemm_;
};

}  // namespace gqa
