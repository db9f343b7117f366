// RUN: plena-opt %s -p fuse-attention | filecheck %s

// Attention as an operator and written out; heads repeated by expand are grouped; masks become bands, padding or bias.

builtin.module {
  func.func @grouped(%q: tensor<2x4x8x16xf32>, %k: tensor<2x2x8x16xf32>) -> tensor<2x4x8x16xf32> {
    %0 = aten.view %k : (tensor<2x2x8x16xf32>) -> tensor<2x2x1x8x16xf32>
    %1 = aten.expand %0 : (tensor<2x2x1x8x16xf32>) -> tensor<2x2x2x8x16xf32>
    %2 = aten.view %1 : (tensor<2x2x2x8x16xf32>) -> tensor<2x4x8x16xf32>
    %3 = aten.scaled_dot_product_attention %q, %2, %2 {is_causal = true} : (tensor<2x4x8x16xf32>, tensor<2x4x8x16xf32>, tensor<2x4x8x16xf32>) -> tensor<2x4x8x16xf32>
    func.return %3 : tensor<2x4x8x16xf32>
  }
  func.func @written(%q: tensor<1x2x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) -> tensor<1x2x8x16xf32> {
    %0 = aten.permute %k {dims = array<i64: 0, 1, 3, 2>} : (tensor<1x2x8x16xf32>) -> tensor<1x2x16x8xf32>
    %1 = aten.matmul %q, %0 : (tensor<1x2x8x16xf32>, tensor<1x2x16x8xf32>) -> tensor<1x2x8x8xf32>
    %2 = aten.full 8.000000e+00 : f64 : tensor<f32>
    %3 = aten.div %1, %2 : (tensor<1x2x8x8xf32>, tensor<f32>) -> tensor<1x2x8x8xf32>
    %4 = aten.tanh %3 : (tensor<1x2x8x8xf32>) -> tensor<1x2x8x8xf32>
    %5 = aten.mul %4, %2 : (tensor<1x2x8x8xf32>, tensor<f32>) -> tensor<1x2x8x8xf32>
    %6 = aten.constant @mask {band = #plena.band<-3 to 0>, fill = -1.000000e+09 : f64} : tensor<8x8xf32>
    %7 = aten.add %5, %6 : (tensor<1x2x8x8xf32>, tensor<8x8xf32>) -> tensor<1x2x8x8xf32>
    %8 = aten.softmax %7 {dim = 3} : (tensor<1x2x8x8xf32>) -> tensor<1x2x8x8xf32>
    %9 = aten.matmul %8, %v : (tensor<1x2x8x8xf32>, tensor<1x2x8x16xf32>) -> tensor<1x2x8x16xf32>
    func.return %9 : tensor<1x2x8x16xf32>
  }
  func.func @padded(%q: tensor<2x1x8x16xf32>, %m: tensor<2x8xi64>) -> tensor<2x1x8x16xf32> {
    %0 = aten.to %m : (tensor<2x8xi64>) -> tensor<2x8xi1>
    %1 = aten.view %0 : (tensor<2x8xi1>) -> tensor<2x1x1x8xi1>
    %2 = aten.constant @slopes : tensor<1x1x8x8xf32>
    %3 = aten.full 0xfff0000000000000 : f64 : tensor<f32>
    %4 = aten.where %1, %2, %3 : (tensor<2x1x1x8xi1>, tensor<1x1x8x8xf32>, tensor<f32>) -> tensor<2x1x8x8xf32>
    %5 = aten.scaled_dot_product_attention %q, %q, %q, mask = %4 : (tensor<2x1x8x16xf32>, tensor<2x1x8x16xf32>, tensor<2x1x8x16xf32>, tensor<2x1x8x8xf32>) -> tensor<2x1x8x16xf32>
    func.return %5 : tensor<2x1x8x16xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @grouped(%q: tensor<2x4x8x16xf32>, %k: tensor<2x2x8x16xf32>) -> tensor<2x4x8x16xf32> {
// CHECK-NEXT:     %0 = plena.rearrange %q {factors = array<i64: 2, 4, 8, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<2x4x8x16xf32>) -> tensor<16x64xf32>
// CHECK-NEXT:     %1 = plena.rearrange %k {factors = array<i64: 2, 2, 8, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<2x2x8x16xf32>) -> tensor<16x32xf32>
// CHECK-NEXT:     %2 = plena.rearrange %k {factors = array<i64: 2, 2, 8, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<2x2x8x16xf32>) -> tensor<16x32xf32>
// CHECK-NEXT:     %3 = plena.attention %0, %1, %2 : tensor<16x64xf32>, tensor<16x32xf32>, tensor<16x32xf32> {batch = 2 : i64, heads = 4 : i64, kv_heads = 2 : i64, scale = 2.500000e-01 : f64, band = #plena.band<* to 0>} -> tensor<16x64xf32>
// CHECK-NEXT:     %4 = plena.rearrange %3 {factors = array<i64: 2, 8, 4, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<16x64xf32>) -> tensor<2x4x8x16xf32>
// CHECK-NEXT:     func.return %4 : tensor<2x4x8x16xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @written(%q: tensor<1x2x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) -> tensor<1x2x8x16xf32> {
// CHECK-NEXT:     %0 = plena.rearrange %q {factors = array<i64: 2, 8, 16>, order = array<i64: 1, 0, 2>} : (tensor<1x2x8x16xf32>) -> tensor<8x32xf32>
// CHECK-NEXT:     %1 = plena.rearrange %k {factors = array<i64: 2, 8, 16>, order = array<i64: 1, 0, 2>} : (tensor<1x2x8x16xf32>) -> tensor<8x32xf32>
// CHECK-NEXT:     %2 = plena.rearrange %v {factors = array<i64: 2, 8, 16>, order = array<i64: 1, 0, 2>} : (tensor<1x2x8x16xf32>) -> tensor<8x32xf32>
// CHECK-NEXT:     %3 = plena.attention %0, %1, %2 : tensor<8x32xf32>, tensor<8x32xf32>, tensor<8x32xf32> {batch = 1 : i64, heads = 2 : i64, kv_heads = 2 : i64, scale = 1.000000e+00 : f64, softcap = 8.000000e+00 : f64, band = #plena.band<-3 to 0>} -> tensor<8x32xf32>
// CHECK-NEXT:     %4 = plena.rearrange %3 {factors = array<i64: 8, 2, 16>, order = array<i64: 1, 0, 2>} : (tensor<8x32xf32>) -> tensor<1x2x8x16xf32>
// CHECK-NEXT:     func.return %4 : tensor<1x2x8x16xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @padded(%q: tensor<2x1x8x16xf32>, %m: tensor<2x8xi64>) -> tensor<2x1x8x16xf32> {
// CHECK-NEXT:     %0 = plena.parameter @slopes : tensor<1x1x8x8xf32>
// CHECK-NEXT:     %1 = plena.compare "ne" %m, 0.000000e+00 : f64 : (tensor<2x8xi64>) -> tensor<2x8xi1>
// CHECK-NEXT:     %2 = plena.reshape %q : (tensor<2x1x8x16xf32>) -> tensor<16x16xf32>
// CHECK-NEXT:     %3 = plena.reshape %q : (tensor<2x1x8x16xf32>) -> tensor<16x16xf32>
// CHECK-NEXT:     %4 = plena.reshape %q : (tensor<2x1x8x16xf32>) -> tensor<16x16xf32>
// CHECK-NEXT:     %5 = plena.attention %2, %3, %4 : tensor<16x16xf32>, tensor<16x16xf32>, tensor<16x16xf32> bias(%0 : tensor<1x1x8x8xf32>) key_padding(%1 : tensor<2x8xi1>) {batch = 2 : i64, heads = 1 : i64, kv_heads = 1 : i64, scale = 2.500000e-01 : f64, empty = "zero", moderate} -> tensor<16x16xf32>
// CHECK-NEXT:     %6 = plena.reshape %5 : (tensor<16x16xf32>) -> tensor<2x1x8x16xf32>
// CHECK-NEXT:     func.return %6 : tensor<2x1x8x16xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
