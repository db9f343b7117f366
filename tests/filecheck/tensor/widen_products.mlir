// RUN: plena-opt %s -p widen-products | filecheck %s

// Scores and what they weigh over 4 heads, keys and values of 2 heads: nothing is moved.

builtin.module {
  func.func @grouped(%q: tensor<32x64xf32>, %k: tensor<32x32xf32>, %w: tensor<128x16xf32>) -> (tensor<128x16xf32>, tensor<32x64xf32>) {
    %0 = plena.rearrange %q {factors = array<i64: 2, 16, 4, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<32x64xf32>) -> tensor<128x16xf32>
    %1 = plena.rearrange %k {factors = array<i64: 2, 16, 2, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<32x32xf32>) -> tensor<2x2x1x16x16xf32>
    %2 = plena.expand %1 : (tensor<2x2x1x16x16xf32>) -> tensor<2x2x2x16x16xf32>
    %3 = plena.reshape %2 : (tensor<2x2x2x16x16xf32>) -> tensor<128x16xf32>
    %4 = plena.matmul %0, %3 {batch = 8 : i64, transpose_rhs = true} : (tensor<128x16xf32>, tensor<128x16xf32>) -> tensor<128x16xf32>
    %5 = plena.matmul %w, %3 {batch = 8 : i64} : (tensor<128x16xf32>, tensor<128x16xf32>) -> tensor<128x16xf32>
    %6 = plena.rearrange %5 {factors = array<i64: 2, 4, 16, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<128x16xf32>) -> tensor<32x64xf32>
    func.return %4, %6 : tensor<128x16xf32>, tensor<32x64xf32>
  }
}

// CHECK:      func.func @grouped(%q: tensor<32x64xf32>, %k: tensor<32x32xf32>, %w: tensor<128x16xf32>) -> (tensor<128x16xf32>, tensor<32x64xf32>) {
// CHECK-NEXT:   %0 = plena.matmul %q, %k {batch = 2 : i64, heads = 4 : i64, rhs_heads = 2 : i64, transpose_rhs = true, wide_lhs, wide_rhs} : (tensor<32x64xf32>, tensor<32x32xf32>) -> tensor<128x16xf32>
// CHECK-NEXT:   %1 = plena.matmul %w, %k {batch = 2 : i64, heads = 4 : i64, rhs_heads = 2 : i64, wide_rhs, wide_result} : (tensor<128x16xf32>, tensor<32x32xf32>) -> tensor<32x64xf32>
// CHECK-NEXT:   func.return %0, %1 : tensor<128x16xf32>, tensor<32x64xf32>
